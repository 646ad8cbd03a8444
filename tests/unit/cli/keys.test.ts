import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findApiKey, parseApiKeys } from '../../../signaling/gateway/api-keys.ts';
import { keysCommand } from '../../../src/cli/keys.ts';

let folder: string;
let path: string;
const printed: string[] = [];

/** Runs `skein keys`. @returns what it printed. */
async function keys(...args: readonly string[]): Promise<string> {
  printed.length = 0;
  const command = keysCommand().exitOverride();
  await command.parseAsync([...args, '--api-keys', path], { from: 'user' });
  return printed.join('\n');
}

const kept = async () => parseApiKeys(await readFile(path, 'utf8'));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-keys-'));
  path = join(folder, 'state', 'keys.json');
  vi.spyOn(console, 'log').mockImplementation((line: string) => void printed.push(line));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

describe('skein keys', () => {
  it('prints a key once, and keeps what it is known by, for its owner to read', async () => {
    const { key } = JSON.parse(await keys('add', 'ann', '--requests-per-minute', '5', '--json')) as {
      key: string;
    };
    expect(await readFile(path, 'utf8')).not.toContain(key);
    expect(findApiKey(key, await kept())).toMatchObject({ name: 'ann', requestsPerMinute: 5 });
    expect((await stat(path)).mode & 0o077).toBe(0);
    expect(await keys('list')).not.toContain(key);
  });

  it('adds to what is there, and takes one away', async () => {
    await keys('add', 'ann');
    await keys('add', 'bob', '--concurrent', '2');
    expect(JSON.parse(await keys('list', '--json'))).toMatchObject({
      keys: [{ name: 'ann' }, { name: 'bob', concurrent: 2 }],
    });
    expect(await keys('list', '--json')).not.toContain('sha256');
    await keys('remove', 'ann');
    expect((await kept()).map(({ name }) => name)).toEqual(['bob']);
  });

  it('refuses a name that is taken, unknown, or no name', async () => {
    await keys('add', 'ann');
    for (const args of [
      ['add', 'ann'],
      ['add', 'a b'],
      ['remove', 'bob'],
    ]) {
      await expect(keys(...args)).rejects.toMatchObject({ code: 'bad-argument' });
    }
    expect(await kept()).toHaveLength(1);
  });
});

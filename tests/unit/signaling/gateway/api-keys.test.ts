import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  findApiKey,
  formatApiKeys,
  hashApiKey,
  newApiKey,
  parseApiKeys,
} from '../../../../signaling/gateway/api-keys.ts';
import { KeyFile } from '../../../../signaling/gateway/key-file.ts';
import { KEY_FILE_CHECK_MS, MAX_KEY_FILE_BYTES } from '../../../../signaling/gateway/limits.ts';
import { createLog } from '../../../../signaling/log.ts';

const ANN = { name: 'ann', sha256: hashApiKey('ann-key') };
const BOB = { name: 'bob', sha256: hashApiKey('bob-key'), requestsPerMinute: 5, concurrent: 2 };

describe('keys', () => {
  it('are new every time, and too long to guess', () => {
    const [first, second] = [newApiKey(), newApiKey()];
    expect(first).not.toBe(second);
    expect(first).toMatch(/^sk-skein-[\w-]{43}$/);
  });

  it('are found by what is kept of them, and by nothing else', () => {
    expect(findApiKey('bob-key', [ANN, BOB])).toEqual(BOB);
    for (const wrong of ['', 'bob-key ', 'bob', BOB.sha256, 'x'.repeat(100_000)]) {
      expect(findApiKey(wrong, [ANN, BOB])).toBeNull();
    }
    expect(findApiKey('bob-key', [])).toBeNull();
  });

  it('are read as they were written', () => {
    expect(parseApiKeys(formatApiKeys([ANN, BOB]))).toEqual([ANN, BOB]);
  });

  it.each([
    ['no JSON', '{'],
    ['another shape', '[]'],
    ['a key itself', JSON.stringify({ keys: [{ name: 'ann', key: 'ann-key' }] })],
    ['half a hash', JSON.stringify({ keys: [{ name: 'ann', sha256: 'abc' }] })],
    ['a name that forges log lines', JSON.stringify({ keys: [{ ...ANN, name: 'ann\nstatus=200' }] })],
    ['a limit of nothing', JSON.stringify({ keys: [{ ...ANN, concurrent: 0 }] })],
    ['one name twice', JSON.stringify({ keys: [ANN, { ...BOB, name: 'ann' }] })],
  ])('are refused as a file that holds %s', (_what, json) => {
    expect(() => parseApiKeys(json)).toThrow(expect.objectContaining({ code: 'bad-argument' }) as Error);
  });
});

describe('a file of keys', () => {
  const lines: string[] = [];
  let folder: string;
  let path: string;
  let nowMs: number;
  const open = () =>
    KeyFile.open(
      path,
      createLog('info', (line) => lines.push(line)),
      () => nowMs,
    );

  beforeEach(async () => {
    lines.length = 0;
    nowMs = 0;
    folder = await mkdtemp(join(tmpdir(), 'skein-keys-'));
    path = join(folder, 'keys.json');
    await writeFile(path, formatApiKeys([ANN]));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('is read again when it has changed', async () => {
    const file = await open();
    expect(await file.keys()).toEqual([ANN]);
    await writeFile(path, formatApiKeys([ANN, BOB]));
    expect(await file.keys()).toEqual([ANN]);
    nowMs += KEY_FILE_CHECK_MS;
    expect(await file.keys()).toEqual([ANN, BOB]);
  });

  it('that turns bad, or away, leaves the keys as they were, and says so', async () => {
    const file = await open();
    await writeFile(path, '{"keys": [');
    nowMs += KEY_FILE_CHECK_MS;
    expect(await file.keys()).toEqual([ANN]);
    await rm(path);
    nowMs += KEY_FILE_CHECK_MS;
    expect(await file.keys()).toEqual([ANN]);
    expect(lines).toHaveLength(2);
    await writeFile(path, formatApiKeys([]));
    nowMs += KEY_FILE_CHECK_MS;
    expect(await file.keys()).toEqual([]);
  });

  it('has to be there at the start, and no larger than any', async () => {
    await writeFile(path, ' '.repeat(MAX_KEY_FILE_BYTES + 1));
    await expect(open()).rejects.toMatchObject({ code: 'bad-argument' });
    await rm(path);
    await expect(open()).rejects.toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining('skein keys add') as string,
    });
  });
});

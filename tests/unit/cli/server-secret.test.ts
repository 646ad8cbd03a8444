import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { serverSecret, serverSecretPath } from '../../../src/cli/server-secret.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-secret-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('is made once, for its owner only, and is the same from then on', async () => {
  const path = join(folder, 'state', 'skein', 'server-secret');
  const secrets = await Promise.all(Array.from({ length: 8 }, () => serverSecret(path)));
  expect(new Set(secrets.map((secret) => Buffer.from(secret).toString('hex'))).size).toBe(1);
  expect(secrets[0]).toHaveLength(32);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await readFile(path, 'utf8')).trim()).toBe(Buffer.from(secrets[0] ?? []).toString('hex'));
  expect(await readdir(dirname(path))).toEqual(['server-secret']);
});

it('is another one in another folder', async () => {
  const [one, other] = await Promise.all(['a', 'b'].map((name) => serverSecret(join(folder, name))));
  expect(one).not.toEqual(other);
});

it('is refused when others can read it, when it is something else, or cannot be had', async () => {
  const open = join(folder, 'open');
  await serverSecret(open);
  await chmod(open, 0o644);
  await expect(serverSecret(open)).rejects.toMatchObject({
    code: 'bad-argument',
    message: expect.stringContaining('chmod 600') as string,
  });
  const wrong = join(folder, 'wrong');
  await writeFile(wrong, 'abcd', { mode: 0o600 });
  await expect(serverSecret(wrong)).rejects.toThrow('does not hold 32 bytes');
  await expect(serverSecret(join(wrong, 'below', 'a-file'))).rejects.toThrow('cannot be made');
});

it('lies in the state folder of its user', () => {
  expect(serverSecretPath({ XDG_STATE_HOME: '/state' }, '/home/me')).toBe('/state/skein/server-secret');
  for (const env of [{}, { XDG_STATE_HOME: '' }, { XDG_STATE_HOME: 'relative' }]) {
    expect(serverSecretPath(env, '/home/me')).toBe('/home/me/.local/state/skein/server-secret');
  }
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { operatorCheck } from '../../../signaling/admin-key.ts';
import { modelsCommand } from '../../../src/cli/models.ts';
import { operatorKey } from '../../../src/cli/operator-key.ts';
import { openServedModel } from '../../../src/cli/served-models.ts';
import { makeCertificate } from '../../fixtures/certificate.ts';
import { ServerRig } from '../signaling/server-rig.ts';

const TINY = resolve(import.meta.dirname, '../../../public/models/skein-tiny');
const KEY = 'sixteen-letters-and-more';
const DISPATCHER = Symbol.for('undici.globalDispatcher.1');

const rig = new ServerRig();
let folder: string;
let untrusting: unknown;
let said: string[];
beforeEach(async () => {
  await fetch('data:,');
  untrusting = Reflect.get(globalThis, DISPATCHER);
  folder = await mkdtemp(join(tmpdir(), 'skein-models-admin-'));
  said = [];
  vi.spyOn(console, 'log').mockImplementation((line: string) => void said.push(line));
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  vi.stubEnv('XDG_STATE_HOME', folder);
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  Reflect.set(globalThis, DISPATCHER, untrusting);
  await rig.stopAll();
  await rm(folder, { recursive: true });
});

const skein = (...words: string[]) => modelsCommand().exitOverride().parseAsync(words, { from: 'user' });
const start = async (key: string) => {
  const made = await makeCertificate();
  const server = await rig.start({
    tls: { ...made, isSelfMade: true },
    isOperator: operatorCheck(key),
    admin: { served: [], open: openServedModel, onChange: () => undefined },
    models: [],
  });
  return { ...server, fingerprint: made.fingerprint };
};
const modelsOf = async (url: string) =>
  ((await (await fetch(`${url}/healthz`)).json()) as { models: string[] }).models;

it('adds and removes over HTTPS, with the key and the fingerprint that are given', async () => {
  const { url, port, fingerprint } = await start(KEY);
  const where = ['--server', `https://localhost:${port}`, '--fingerprint', fingerprint];
  await skein('add', TINY, ...where, '--operator-key', KEY, '--json');
  expect(JSON.parse(said[0] ?? '')).toMatchObject({ id: 'skein-tiny', state: 'offered', layerCount: 8 });
  expect(await modelsOf(url)).toEqual(['skein-tiny']);
  await skein('remove', 'skein-tiny', ...where, '--operator-key', KEY);
  expect(said.at(-1)).toBe('skein-tiny is removed.');
  expect(await modelsOf(url)).toEqual([]);
});

it('takes the kept key on this machine, and shows it to no other', async () => {
  const { key } = await operatorKey(undefined, join(folder, 'skein'));
  const { url, port } = await start(key);
  await skein('add', TINY, '--server', url);
  expect(await modelsOf(url)).toEqual(['skein-tiny']);
  const elsewhere = skein('remove', 'skein-tiny', '--server', `https://192.0.2.99:${port}`);
  await expect(elsewhere).rejects.toThrow('SKEIN_OPERATOR_KEY');
});

it('refuses to send a key in the clear, and says what the server says', async () => {
  const { url } = await start(KEY);
  const plain = skein('add', TINY, '--server', 'http://192.0.2.99', '--operator-key', KEY);
  await expect(plain).rejects.toThrow('not for plain HTTP');
  const wrong = skein('add', TINY, '--server', url, '--operator-key', `${KEY}-not`);
  await expect(wrong).rejects.toThrow('operator key');
  const nowhere = skein('add', '/nowhere', '--server', url, '--operator-key', KEY);
  await expect(nowhere).rejects.toMatchObject({ code: 'model-missing' });
  const unknown = skein('remove', 'nothing', '--server', url, '--operator-key', KEY);
  await expect(unknown).rejects.toThrow('There is no model nothing');
});

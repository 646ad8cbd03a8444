import { link, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileTuningStore, tuningFilePath } from '../../../src/cli/tuning-file.ts';
import type { Tuning } from '../../../src/engine/tuning.ts';

const TUNING: Tuning = {
  subgroupSize: 8,
  isSoftware: false,
  usesSubgroups: true,
  usesF16: false,
  usesPackedDot: true,
};
const OTHER: Tuning = { ...TUNING, subgroupSize: 32 };

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-tuning-'));
  path = join(folder, 'cache', 'skein', 'tuning.json');
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function writeKept(text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

describe('the tuning file', () => {
  it('keeps a choice per key for another process', async () => {
    await fileTuningStore(path).save('one adapter', OTHER);
    await fileTuningStore(path).save('another', TUNING);
    await fileTuningStore(path).save('one adapter', TUNING);
    await fileTuningStore(path).save('another', OTHER);
    const store = fileTuningStore(path);
    expect(await store.load('one adapter')).toEqual(TUNING);
    expect(await store.load('another')).toEqual(OTHER);
    expect(await store.load('a third')).toBeUndefined();
    expect(await store.load('constructor')).toBeUndefined();
  });

  it('holds nothing before the first save', async () => {
    expect(await fileTuningStore(path).load('one adapter')).toBeUndefined();
  });

  it.each(['', '{"one adapter": {', 'null', '["one adapter"]', '7', '\0\0\0'])(
    'that holds %j is as good as none, and is replaced',
    async (text) => {
      await writeKept(text);
      const store = fileTuningStore(path);
      expect(await store.load('one adapter')).toBeUndefined();
      await store.save('one adapter', TUNING);
      expect(await store.load('one adapter')).toEqual(TUNING);
    },
  );

  it('is replaced whole: no draft stays, and who has the old one open reads the old one', async () => {
    await writeKept('{"an old adapter": 1}');
    const opened = join(folder, 'opened');
    await link(path, opened);
    await fileTuningStore(path).save('one adapter', TUNING);
    expect(await readdir(dirname(path))).toEqual(['tuning.json']);
    expect(await readFile(opened, 'utf8')).toBe('{"an old adapter": 1}');
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ 'an old adapter': 1, 'one adapter': TUNING });
  });

  it('is never half written, however many save at once', async () => {
    const store = fileTuningStore(path);
    await store.save('first', TUNING);
    const saves = Array.from({ length: 20 }, (_, index) => store.save(`adapter ${index}`, TUNING));
    const reads = Array.from({ length: 20 }, () =>
      readFile(path, 'utf8').then((text) => JSON.parse(text) as unknown),
    );
    for (const choices of await Promise.all(reads)) expect(choices).toHaveProperty('first');
    await Promise.all(saves);
    expect(await readdir(dirname(path))).toEqual(['tuning.json']);
  });

  it('forgets the oldest of too many', async () => {
    const kept = Array.from({ length: 64 }, (_, index) => [`adapter ${index}`, TUNING] as const);
    await writeKept(JSON.stringify(Object.fromEntries(kept)));
    await fileTuningStore(path).save('one adapter', TUNING);
    const keys = Object.keys(JSON.parse(await readFile(path, 'utf8')) as object);
    expect(keys).toHaveLength(64);
    expect(keys).not.toContain('adapter 0');
    expect(keys.at(-1)).toBe('one adapter');
  });

  it('that cannot be written costs nothing but the choice, and leaves no draft', async () => {
    // A folder in its place: not even root can write that.
    await mkdir(path, { recursive: true });
    const store = fileTuningStore(path);
    await store.save('one adapter', TUNING);
    expect(await store.load('one adapter')).toBeUndefined();
    expect(await readdir(dirname(path))).toEqual(['tuning.json']);
    await writeFile(join(folder, 'a file'), '');
    await fileTuningStore(join(folder, 'a file', 'tuning.json')).save('one adapter', TUNING);
  });
});

describe('where the tuning file is', () => {
  const home = '/home/ann';
  it.each([
    ['linux', {}, '/home/ann/.cache/skein/tuning.json'],
    ['linux', { XDG_CACHE_HOME: '/var/ann' }, '/var/ann/skein/tuning.json'],
    ['linux', { XDG_CACHE_HOME: '' }, '/home/ann/.cache/skein/tuning.json'],
    ['linux', { XDG_CACHE_HOME: 'relative' }, '/home/ann/.cache/skein/tuning.json'],
    ['freebsd', {}, '/home/ann/.cache/skein/tuning.json'],
    ['darwin', { XDG_CACHE_HOME: '/var/ann' }, '/home/ann/Library/Caches/skein/tuning.json'],
  ] as const)('on %s with %j', (platform, env, expected) => {
    expect(tuningFilePath({ platform, env, home })).toBe(expected);
  });

  it('on Windows', () => {
    const windows = { platform: 'win32', home: 'C:\\Users\\ann' } as const;
    const local = String.raw`D:\Local`;
    expect(tuningFilePath({ ...windows, env: { LOCALAPPDATA: local } })).toBe(
      String.raw`D:\Local\skein\tuning.json`,
    );
    expect(tuningFilePath({ ...windows, env: {} })).toBe(
      String.raw`C:\Users\ann\AppData\Local\skein\tuning.json`,
    );
  });
});

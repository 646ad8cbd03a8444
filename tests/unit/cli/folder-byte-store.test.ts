import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { folderByteStore } from '../../../src/cli/folder-byte-store.ts';

let parent: string;
let folder: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'skein-store-'));
  folder = join(parent, 'not', 'there');
});

afterEach(() => rm(parent, { recursive: true }));

it('gives back what was put, until it is deleted', async () => {
  const store = folderByteStore(folder);
  expect(await store.get('a')).toBeNull();
  expect(await store.names()).toEqual([]);
  await store.put('a', Uint8Array.of(1, 2));
  await store.put('b', new Uint8Array(0));
  await store.put('a', Uint8Array.of(3));
  expect([...((await store.get('a')) ?? [])]).toEqual([3]);
  expect(await store.get('b')).toHaveLength(0);
  expect((await store.names()).sort()).toEqual(['a', 'b']);
  await store.delete('a');
  await store.delete('a');
  expect(await store.get('a')).toBeNull();
});

it('shows nothing of a file that was never finished', async () => {
  const store = folderByteStore(folder);
  await store.put('a', Uint8Array.of(1));
  await writeFile(join(folder, 'b.1234.part'), 'x');
  expect(await store.names()).toEqual(['a']);
});

it('leaves nothing behind when it cannot store', async () => {
  const store = folderByteStore(folder);
  await store.put('a', Uint8Array.of(1));
  await mkdir(join(folder, 'taken'));
  await expect(store.put('taken', Uint8Array.of(1))).rejects.toThrow();
  expect((await readdir(folder)).sort()).toEqual(['a', 'taken']);
});

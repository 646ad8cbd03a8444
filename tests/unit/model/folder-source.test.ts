import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { refusalOf } from '../../fixtures/errors.ts';

let folder = '';
let source: FolderSource;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-folder-'));
  source = new FolderSource(folder);
  await writeFile(join(folder, 'letters'), 'abcdef');
});
afterEach(() => rm(folder, { recursive: true }));

describe('FolderSource', () => {
  it('knows sizes, and what is no file', async () => {
    await mkdir(join(folder, 'inner'));
    await writeFile(join(folder, 'inner', 'empty'), '');
    expect(await source.sizeBytes('letters')).toBe(6);
    expect(await source.sizeBytes('inner/empty')).toBe(0);
    expect(await source.sizeBytes('inner')).toBeNull();
    expect(await source.sizeBytes('absent')).toBeNull();
    expect(await source.sizeBytes('letters/inside')).toBeNull();
  });

  it('reads any part', async () => {
    const read = async (start: number, end: number) =>
      new TextDecoder().decode(await source.read('letters', start, end));
    expect([await read(0, 6), await read(2, 4), await read(3, 3)]).toEqual(['abcdef', 'cd', '']);
  });

  it('follows links, as the hub cache has them', async () => {
    await symlink(join(folder, 'letters'), join(folder, 'link'));
    expect(await source.sizeBytes('link')).toBe(6);
  });

  it('says that a file is shorter or missing', async () => {
    expect(await refusalOf(() => source.read('letters', 5, 7))).toMatchObject({
      code: 'model-corrupt',
      data: { file: join(folder, 'letters'), start: 5, end: 7 },
    });
    expect(await refusalOf(() => source.read('absent', 0, 1))).toMatchObject({
      code: 'model-missing',
      data: { file: join(folder, 'absent') },
    });
  });

  it('does not allocate what the file does not hold', async () => {
    expect(await refusalOf(() => source.read('letters', 0, 2 ** 52))).toMatchObject({
      code: 'model-corrupt',
    });
  });

  it.each(['../letters', '/etc/hostname', 'a/../letters', 'C:\\letters', '', 'a\0b'])(
    'refuses the path %j',
    async (path) => {
      expect(await refusalOf(() => source.read(path, 0, 1))).toMatchObject({
        code: 'bad-argument',
        data: { path },
      });
      expect(await refusalOf(() => source.sizeBytes(path))).toMatchObject({ code: 'bad-argument' });
    },
  );

  it('stops when the caller gave up', async () => {
    const signal = AbortSignal.abort();
    expect(await refusalOf(() => source.read('letters', 0, 1, signal))).toMatchObject({ code: 'aborted' });
    expect(await refusalOf(() => source.sizeBytes('letters', signal))).toMatchObject({ code: 'aborted' });
  });
});

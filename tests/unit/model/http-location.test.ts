import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { folderUrl, namedGgufFile } from '../../../src/model/http-location.ts';
import { HttpSource } from '../../../src/model/http-source.ts';
import { fileSourceFor } from '../../../src/model/open-source.ts';
import { refusalOf } from '../../fixtures/errors.ts';

describe('folderUrl', () => {
  it.each([
    ['Qwen/Qwen3-0.6B', 'https://huggingface.co/Qwen/Qwen3-0.6B/resolve/main/'],
    ['https://huggingface.co/Qwen/Qwen3-0.6B', 'https://huggingface.co/Qwen/Qwen3-0.6B/resolve/main/'],
    ['https://huggingface.co/Qwen/Qwen3-0.6B/', 'https://huggingface.co/Qwen/Qwen3-0.6B/resolve/main/'],
    ['https://huggingface.co/a/b/resolve/v2', 'https://huggingface.co/a/b/resolve/v2/'],
    ['https://huggingface.co/a/b/blob/main/x-Q4_0.gguf', 'https://huggingface.co/a/b/resolve/main/'],
    ['https://a.test/m/My%20Model.GGUF?token=1', 'https://a.test/m/?token=1'],
    ['http://localhost:3000/models/tiny', 'http://localhost:3000/models/tiny/'],
    ['https://a.test/m/?token=1', 'https://a.test/m/?token=1'],
  ])('%s is %s', (location, url) => {
    expect(folderUrl(location).href).toBe(url);
  });

  it.each([
    ['https://huggingface.co/a/b/resolve/main/x-Q4_0.gguf', 'x-Q4_0.gguf'],
    ['https://a.test/m/My%20Model.GGUF?token=1', 'My Model.GGUF'],
    ['https://a.test/m/', null],
    ['https://a.test/m?file=x.gguf', null],
    ['a/b.gguf', null],
  ])('%s names the GGUF file %s', (location, file) => {
    expect(namedGgufFile(location)).toBe(file);
  });

  it('refuses a GGUF file with broken escapes', async () => {
    const refusal = await refusalOf(() => namedGgufFile('https://a.test/m/%zz.gguf'));
    expect(refusal.code).toBe('bad-argument');
  });

  it.each([
    '',
    'model',
    '../x/y',
    'a/b/c',
    '/models/tiny',
    'file:///etc',
    'javascript:alert(1)',
    'ftp://a/b',
  ])('refuses %j', async (location) => {
    expect(await refusalOf(() => folderUrl(location))).toMatchObject({
      code: 'bad-argument',
      data: { location },
    });
  });
});

describe('fileSourceFor', () => {
  it('takes URLs and hub ids for the web, and everything else for a folder', () => {
    expect(fileSourceFor('https://a.test/m')).toBeInstanceOf(HttpSource);
    expect(fileSourceFor('Qwen/Qwen3-0.6B')).toBeInstanceOf(HttpSource);
    expect(fileSourceFor('./models/x')).toBeInstanceOf(FolderSource);
    expect(fileSourceFor('models')).toBeInstanceOf(FolderSource);
  });

  it('prefers a folder of that name to the hub', () => {
    expect(fileSourceFor('public/models')).toBeInstanceOf(FolderSource);
  });

  it('takes a file URL', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'skein source '));
    expect(fileSourceFor(pathToFileURL(folder).href).description).toBe(folder);
    await rm(folder, { recursive: true });
  });
});

import { mkdtemp, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createLog } from '../../../signaling/log.ts';
import { startServer } from '../../../signaling/server.ts';
import type { RunningServer } from '../../../signaling/server.ts';
import { openServedModels } from '../../../src/cli/served-models.ts';
import { FolderSource } from '../../../src/model/folder-source.ts';

const TINY = resolve(import.meta.dirname, '../../../public/models/skein-tiny');

let server: RunningServer;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-models-'));
  await symlink(TINY, join(folder, 'My model (v2)'));
  server = await startServer({
    host: '127.0.0.1',
    port: 0,
    models: [],
    roots: [
      { urlPath: '/', folder: TINY },
      { urlPath: '/owner/Tiny-1B/resolve/main/', folder: TINY },
    ],
    stages: 'auto',
    log: createLog('silent', () => undefined),
  });
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

it('counts every byte of the weights once, and a tied head again', async () => {
  const [tiny] = await openServedModels([TINY]);
  const { size } = await stat(join(TINY, 'model.safetensors'));
  const lengthField = await new FolderSource(TINY).read('model.safetensors', 0, 8);
  const headerBytes = 8 + Number(new DataView(lengthField.buffer).getBigUint64(0, true));
  const { layerCount, bytesPerLayer, embeddingBytes, headBytes } = tiny?.card ?? fail();
  const normBytes = headBytes - embeddingBytes;
  expect(layerCount * bytesPerLayer + embeddingBytes + normBytes).toBe(size - headerBytes);
  // 256 elements of 16 bits.
  expect(normBytes).toBe(2 * 256);
});

it('serves a folder from here under a name that can stand in a URL', async () => {
  const location = join(folder, 'My model (v2)');
  const [model] = await openServedModels([location]);
  expect(model).toMatchObject({
    card: { id: 'My-model-v2-', url: '/models/My-model-v2-/', layerCount: 8, contextLength: 2048 },
    root: { urlPath: '/models/My-model-v2-/', folder: location },
  });
});

it('leaves a URL where it is, named after the model and not the revision', async () => {
  const url = `${server.url}/owner/Tiny-1B/resolve/main`;
  const [model] = await openServedModels([url]);
  expect(model).toMatchObject({ card: { id: 'Tiny-1B', url: `${url}/`, layerCount: 8 }, root: null });
});

it('refuses two models of one name, and a folder without a model', async () => {
  await expect(openServedModels([TINY, TINY])).rejects.toMatchObject({
    code: 'bad-argument',
    message: expect.stringContaining(basename(TINY)) as string,
  });
  await expect(openServedModels([folder])).rejects.toMatchObject({
    code: 'model-missing',
    message: expect.stringContaining('config.json') as string,
  });
});

function fail(): never {
  throw new Error('there is no model');
}

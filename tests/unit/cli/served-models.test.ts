import { cp, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLog } from '../../../signaling/log.ts';
import { startServer } from '../../../signaling/server.ts';
import type { RunningServer } from '../../../signaling/server.ts';
import { openServedModels } from '../../../src/cli/served-models.ts';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { sliceTensors } from '../../../src/model/tensor-names.ts';
import { TINY_QWEN3 } from '../../fixtures/architectures.ts';
import { ggufFile } from '../../fixtures/gguf-file.ts';
import { ggufMetadata, toGgufName } from '../../fixtures/gguf-model.ts';

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

it('counts every multiplication of a row with a matrix, and no other', async () => {
  const [tiny] = await openServedModels([TINY]);
  const [hidden, heads, keyValueHeads, intermediate, vocabulary] = [256, 8 * 32, 4 * 32, 512, 2048];
  expect(tiny?.card).toMatchObject({
    hiddenSize: hidden,
    multiplyAddsPerLayer: hidden * (2 * heads + 2 * keyValueHeads + 3 * intermediate),
    headMultiplyAdds: hidden * vocabulary,
  });
});

it('serves a folder from here under a name that can stand in a URL', async () => {
  const location = join(folder, 'My model (v2)');
  const [model] = await openServedModels([location]);
  expect(model).toMatchObject({
    card: { id: 'My-model-v2-', url: '/models/My-model-v2-/', layerCount: 8, contextLength: 2048 },
    root: { urlPath: '/models/My-model-v2-/', folder: location },
  });
});

it('counts what tabs hold after quantising', async () => {
  const [stored] = await openServedModels([TINY]);
  const { bytesPerLayer: storedLayer, embeddingBytes: storedEmbedding } = stored?.card ?? fail();
  // Stored elements take 2 bytes; codes take 1 or a half, and 32 of them 2 for their scale.
  for (const [quantization, share] of [
    ['int8', 34 / 64],
    ['int4', 18 / 64],
  ] as const) {
    const [model] = await openServedModels([TINY], { quantization, cache: 'f32', activations: 'f32' });
    const { card } = model ?? fail();
    expect(card.quantization).toBe(quantization);
    expect(card.embeddingBytes).toBe((storedEmbedding * 34) / 64);
    // Norms stay.
    expect(Math.abs(card.bytesPerLayer / storedLayer - share)).toBeLessThan(0.002);
  }
});

it('says how keys and values are kept, and counts their bytes', async () => {
  // 4 key-value heads of 32 elements, keys and values; int8 has a scale and as much padding with every head.
  for (const [cache, headBytes] of [
    ['f32', 32 * 4],
    ['f16', 32 * 2],
    ['int8', 32 + 8],
  ] as const) {
    const [model] = await openServedModels([TINY], { quantization: 'none', cache, activations: 'f32' });
    expect(model?.card).toMatchObject({ cache, cacheBytesPerTokenPerLayer: 2 * 4 * headBytes });
  }
});

it('says what quantised matrices are multiplied with, and refuses int8 activations of floats', async () => {
  const formats = { cache: 'f32', activations: 'int8' } as const;
  const [model] = await openServedModels([TINY], { ...formats, quantization: 'int4' });
  expect(model?.card.activations).toBe('int8');
  await expect(openServedModels([TINY], { ...formats, quantization: 'none' })).rejects.toMatchObject({
    code: 'bad-argument',
    data: { activations: 'int8' },
  });
});

describe('a folder with a GGUF file', () => {
  const gguf = (name: string) => join(folder, name);
  beforeAll(async () => {
    await mkdir(gguf('quants'));
    const weight = (name: string, ...shape: number[]) => {
      const bytes = new Uint8Array(4 * shape.reduce((a, b) => a * b, 1));
      return { name, type: 0, shape, bytes };
    };
    const architecture = { ...TINY_QWEN3, layerCount: 1 };
    const specs = sliceTensors(architecture, { layerStart: 0, layerEnd: 1 });
    const tensors = specs.map(({ name, shape }) => weight(toGgufName(name), ...shape));
    const file = ggufFile({ metadata: ggufMetadata(architecture), tensors });
    await writeFile(gguf('quants/Tiny Q4.gguf'), file);
  });

  it('needs a tokenizer beside it, and says which', async () => {
    await expect(openServedModels([gguf('quants')])).rejects.toMatchObject({
      code: 'model-missing',
      message: expect.stringMatching(/Put tokenizer\.json and tokenizer_config\.json/) as string,
    });
  });

  it('is served by the name of the file, from a URL that names it', async () => {
    await symlink(join(TINY, 'tokenizer.json'), gguf('quants/tokenizer.json'));
    const expected = {
      card: { id: 'Tiny-Q4', url: '/models/Tiny-Q4/Tiny%20Q4.gguf', layerCount: 1 },
      root: { urlPath: '/models/Tiny-Q4/', folder: gguf('quants') },
    };
    for (const location of [gguf('quants'), gguf('quants/Tiny Q4.gguf')]) {
      expect((await openServedModels([location]))[0]).toMatchObject(expected);
    }
  });

  it('is refused when there are two, unless one is named', async () => {
    await cp(gguf('quants'), gguf('two'), { recursive: true });
    await writeFile(gguf('two/other.gguf'), 'x');
    await expect(openServedModels([gguf('two')])).rejects.toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining('Tiny Q4.gguf, other.gguf') as string,
    });
    expect(await openServedModels([gguf('two/Tiny Q4.gguf')])).toHaveLength(1);
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

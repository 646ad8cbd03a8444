import { afterEach, describe, expect, it } from 'vitest';
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { openCheckpoint } from '../../../src/model/open-checkpoint.ts';
import { sliceTensors } from '../../../src/model/tensor-names.ts';
import { MAX_MODEL_JSON_BYTES } from '../../../src/protocol/limits.ts';
import { TINY_LLAMA, TINY_QWEN2, TINY_QWEN3 } from '../../fixtures/architectures.ts';
import { configJson } from '../../fixtures/config-json.ts';
import { dense } from '../../fixtures/dense.ts';
import { refusalOf } from '../../fixtures/errors.ts';
import { MemorySource } from '../../fixtures/memory-source.ts';
import { randomTensors, writeRandomModel } from '../../fixtures/random-model.ts';
import { safetensorsBytes, safetensorsFile } from '../../fixtures/safetensors-file.ts';
import type { DenseTensor } from '../../../src/model/checkpoint.ts';
import type { ModelFolder } from '../../fixtures/random-model.ts';

const ARCHITECTURE = { ...TINY_QWEN3, layerCount: 2 };
const WHOLE = { layerStart: 0, layerEnd: 2 };
const TENSORS = randomTensors({ architecture: ARCHITECTURE, format: 'f16' });
const CONFIG = configJson(ARCHITECTURE);
const NORM = 'model.norm.weight';
const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

const change = (name: string, changes: Partial<DenseTensor>): DenseTensor[] =>
  TENSORS.map((tensor) => (tensor.name === name ? { ...tensor, ...changes } : tensor));

const single = (tensors: readonly DenseTensor[]) =>
  new MemorySource({ 'config.json': CONFIG, [SINGLE]: safetensorsFile(tensors) });

/** The norm in one shard, everything else in the other. */
const sharded = (weightMap: Record<string, unknown> = {}) => {
  const rest = TENSORS.filter(({ name }) => name !== NORM);
  const map = Object.fromEntries(
    TENSORS.map(({ name }) => [name, name === NORM ? 'norm.safetensors' : 'rest.safetensors']),
  );
  return new MemorySource({
    'config.json': CONFIG,
    [INDEX]: { weight_map: { ...map, ...weightMap } },
    'norm.safetensors': safetensorsFile(change(NORM, {}).filter(({ name }) => name === NORM)),
    'rest.safetensors': safetensorsFile(rest),
  });
};

describe('openCheckpoint', () => {
  let model: ModelFolder | undefined;
  afterEach(async () => {
    await model?.remove();
    model = undefined;
  });

  it.each([
    [TINY_LLAMA, 'f32', 1],
    [TINY_QWEN2, 'f16', 3],
    [TINY_QWEN3, 'bf16', 2],
  ] as const)(
    'reads every tensor of a folder as it was written (%#)',
    async (architecture, format, shardCount) => {
      model = await writeRandomModel({ architecture, format, shardCount });
      const checkpoint = await openCheckpoint(new FolderSource(model.folder));
      expect(checkpoint.architecture).toEqual(architecture);
      const specs = sliceTensors(architecture, { layerStart: 0, layerEnd: architecture.layerCount });
      const read = await Promise.all(specs.map(({ name, shape }) => checkpoint.read(name, shape)));
      expect(read).toEqual(randomTensors({ architecture, format }));
    },
  );

  it('says what it has, and how large it is', async () => {
    for (const source of [single(TENSORS), sharded()]) {
      const checkpoint = await openCheckpoint(source);
      expect([checkpoint.has(NORM), checkpoint.has('model.layers.2.mlp.up_proj.weight')]).toEqual([
        true,
        false,
      ]);
      expect(checkpoint.has('__proto__')).toBe(false);
      expect(await checkpoint.sizeBytes(NORM)).toBe(36 * 2);
      expect((await refusalOf(() => checkpoint.sizeBytes('nothing'))).code).toBe('model-missing');
    }
  });

  it('opens a shard when something in it is asked for, and reads its header once', async () => {
    const source = sharded();
    const checkpoint = await openCheckpoint(source);
    const touched = () => new Set(source.reads.map(({ path }) => path));
    expect(touched()).toEqual(new Set(['config.json', INDEX]));
    await Promise.all([checkpoint.read(NORM, [36]), checkpoint.read(NORM, [36])]);
    expect(touched()).toEqual(new Set(['config.json', INDEX, 'norm.safetensors']));
    expect(source.reads.filter(({ path, start }) => path === 'norm.safetensors' && start === 0)).toHaveLength(
      1,
    );
  });

  it('tries a shard again that could not be read before', async () => {
    const source = sharded({ [NORM]: 'late.safetensors' });
    const checkpoint = await openCheckpoint(source);
    expect((await refusalOf(() => checkpoint.read(NORM, [36]))).code).toBe('model-missing');
    source.write('late.safetensors', safetensorsFile(TENSORS.filter(({ name }) => name === NORM)));
    expect(dense(await checkpoint.read(NORM, [36])).bytes).toHaveLength(72);
  });
});

describe('a folder that is not whole', () => {
  const readNorm = async (source: MemorySource) => (await openCheckpoint(source)).read(NORM, [36]);

  it('misses config.json', async () => {
    const refusal = await refusalOf(() =>
      openCheckpoint(new MemorySource({ [SINGLE]: safetensorsFile(TENSORS) })),
    );
    expect(refusal).toMatchObject({ code: 'model-missing', data: { file: 'memory/config.json' } });
  });

  it('misses the weights', async () => {
    const refusal = await refusalOf(() => openCheckpoint(new MemorySource({ 'config.json': CONFIG })));
    expect(refusal).toMatchObject({ code: 'model-missing', data: { file: `memory/${SINGLE}` } });
    expect(refusal.message).toContain(INDEX);
  });

  it('misses a tensor', async () => {
    const refusal = await refusalOf(() => readNorm(single(TENSORS.filter(({ name }) => name !== NORM))));
    expect(refusal).toMatchObject({
      code: 'model-missing',
      data: { file: `memory/${SINGLE}`, tensor: NORM },
    });
    expect(refusal.message).toContain(NORM);
  });

  it('misses a tensor that the index puts into another shard', async () => {
    const refusal = await refusalOf(() => readNorm(sharded({ [NORM]: 'rest.safetensors' })));
    expect(refusal).toMatchObject({
      code: 'model-missing',
      data: { file: 'memory/rest.safetensors', tensor: NORM },
    });
  });

  it('misses a shard', async () => {
    const refusal = await refusalOf(() => readNorm(sharded({ [NORM]: 'gone.safetensors' })));
    expect(refusal).toMatchObject({ code: 'model-missing', data: { file: 'memory/gone.safetensors' } });
    expect(refusal.message).toContain(INDEX);
  });
});

describe('a folder that lies', () => {
  const readAll = async (source: MemorySource) => {
    const checkpoint = await openCheckpoint(source);
    for (const { name, shape } of sliceTensors(ARCHITECTURE, WHOLE)) await checkpoint.read(name, shape);
  };

  it('has an unknown architecture', async () => {
    const source = single(TENSORS);
    source.write('config.json', { ...CONFIG, model_type: 'mamba' });
    expect(await refusalOf(() => readAll(source))).toMatchObject({
      code: 'model-unsupported',
      data: { file: 'memory/config.json', field: 'model_type', value: '"mamba"' },
    });
  });

  it.each(['', '{', '\u0000', '<!doctype html>'])('has %j for a config', async (text) => {
    const source = single(TENSORS);
    source.write('config.json', text);
    const refusal = await refusalOf(() => readAll(source));
    expect(refusal).toMatchObject({ code: 'model-corrupt', data: { file: 'memory/config.json' } });
  });

  it('has a config too large to be one', async () => {
    const source = single(TENSORS);
    source.sizeBytes = () => Promise.resolve(MAX_MODEL_JSON_BYTES + 1);
    expect(await refusalOf(() => readAll(source))).toMatchObject({
      code: 'model-corrupt',
      data: { file: 'memory/config.json' },
    });
    expect(source.reads).toEqual([]);
  });

  it('has a file cut off anywhere', async () => {
    const whole = safetensorsFile(TENSORS);
    for (const length of [0, 7, 8, 100, whole.length - 1]) {
      const source = single([]);
      source.write(SINGLE, whole.slice(0, length));
      const refusal = await refusalOf(() => readAll(source));
      expect(refusal).toMatchObject({ code: 'model-corrupt', data: { file: `memory/${SINGLE}` } });
    }
  });

  it('has a file that is cut off while it is read', async () => {
    const model = await writeRandomModel({ architecture: ARCHITECTURE, format: 'f32' });
    const checkpoint = await openCheckpoint(new FolderSource(model.folder));
    const file = join(model.folder, SINGLE);
    await truncate(file, 5000);
    const refusal = await refusalOf(() => checkpoint.read('lm_head.weight', [113, 36]));
    await model.remove();
    expect(refusal).toMatchObject({ code: 'model-corrupt', data: { file } });
  });

  it('has another dtype than can be read', async () => {
    const header = Object.fromEntries(
      TENSORS.map(({ name }) => [name, { dtype: 'F8_E4M3', shape: [36], data_offsets: [0, 0] }]),
    );
    const source = single([]);
    source.write(SINGLE, safetensorsBytes(JSON.stringify(header), new Uint8Array(0)));
    expect(await refusalOf(() => readAll(source))).toMatchObject({
      code: 'model-unsupported',
      data: { file: `memory/${SINGLE}`, tensor: 'model.embed_tokens.weight', dtype: 'F8_E4M3' },
    });
  });

  it.each([
    ['transposed', [256]],
    ['with another rank', [36, 1]],
    ['empty', []],
  ])('has a tensor %s', async (_, shape) => {
    const elements = shape.reduce((a, b) => a * b, 1);
    const source = single(change(NORM, { shape, bytes: new Uint8Array(elements * 2) }));
    const refusal = await refusalOf(() => readAll(source));
    expect(refusal).toMatchObject({
      code: 'model-corrupt',
      data: { file: `memory/${SINGLE}`, tensor: NORM },
    });
    expect(refusal.message).toContain(`[${shape.join(', ')}]`);
    expect(refusal.message).toContain('[36]');
  });

  it.each([
    '../norm.safetensors',
    '/etc/passwd',
    'https://elsewhere.test/x',
    'a\\b',
    'a/./b',
    '',
    7,
    null,
    ['x'],
  ])('has an index that names the shard %j', async (shard) => {
    const source = sharded({ [NORM]: shard });
    expect(await refusalOf(() => readAll(source))).toMatchObject({
      code: 'model-corrupt',
      data: { file: `memory/${INDEX}`, field: `weight_map.${NORM}` },
    });
  });

  it.each([[], {}, { weight_map: [] }, { weight_map: 'all' }, null])('has the index %j', async (index) => {
    const source = sharded();
    source.write(INDEX, JSON.stringify(index));
    expect(await refusalOf(() => readAll(source))).toMatchObject({
      code: 'model-corrupt',
      data: { file: `memory/${INDEX}`, field: 'weight_map' },
    });
  });
});

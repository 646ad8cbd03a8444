import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BLOCK_TOKENS } from '../../src/engine/batch.ts';
import type { EngineDevice } from '../../src/engine/device.ts';
import { GpuSlice } from '../../src/engine/gpu-slice.ts';
import type { GpuSliceOptions } from '../../src/engine/gpu-slice.ts';
import { KernelCompiler } from '../../src/engine/kernel.ts';
import type { Tuning } from '../../src/engine/tuning.ts';
import type { Architecture, SliceRange } from '../../src/model/architecture.ts';
import type { Checkpoint, TensorFormat } from '../../src/model/checkpoint.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import { openCheckpoint } from '../../src/model/open-checkpoint.ts';
import { quantizedCheckpoint } from '../../src/model/quantize.ts';
import {
  TINY_LLAMA,
  TINY_MISTRAL,
  TINY_QWEN2,
  TINY_QWEN2_WINDOWED,
  TINY_QWEN3,
} from '../fixtures/architectures.ts';
import { refusalOf } from '../fixtures/errors.ts';
import { writeRandomModel } from '../fixtures/random-model.ts';
import type { ModelFolder } from '../fixtures/random-model.ts';
import { roundActivations } from '../reference/int8-activations.ts';
import { loadReferenceWeights } from '../reference/load-weights.ts';
import { relativeError } from '../reference/relative-error.ts';
import { referenceForward } from '../reference/transformer.ts';
import { openTestGpu } from './gpu.ts';
import type { TestGpu } from './gpu.ts';

/** f32 sums over at most a few hundred terms; measured below 1e-6. */
const F32_TOLERANCE = 1e-4;
/** Weights and cache rounded to 11 bits. */
const F16_TOLERANCE = 2e-2;

/** Where kernels for other numbers of rows sum in another order, an element may be rounded to the code beside. */
const INT8_CACHE_TOLERANCE = 1e-3;

/** Sizes the kernels take, odd where they may be: heads shared 3 : 1 and 5 : 1, vocabularies and widths off every tile. */
const FAMILIES: readonly (readonly [string, Architecture, TensorFormat])[] = [
  ['llama', { ...TINY_LLAMA, headDim: 8, hiddenSize: 48, intermediateSize: 104 }, 'f32'],
  ['llama', { ...TINY_LLAMA, headDim: 16, hiddenSize: 72, intermediateSize: 136 }, 'f16'],
  ['qwen2', { ...TINY_QWEN2, headDim: 8, hiddenSize: 40, intermediateSize: 72 }, 'bf16'],
  ['qwen3', { ...TINY_QWEN3, headDim: 24, hiddenSize: 40, intermediateSize: 72 }, 'bf16'],
  // Windows of 11 and 19 tokens, of the 37 that go through.
  ['mistral', TINY_MISTRAL, 'f32'],
  ['qwen2 with windows', TINY_QWEN2_WINDOWED, 'bf16'],
];
/** The adapters under test are software; what hardware runs must be right here too. */
const HARDWARE: Partial<Tuning> = { subgroupSize: 32, isSoftware: false, usesSubgroups: false };
/** Subgroups as wide as the adapter has them. */
const HARDWARE_SUBGROUPS: Partial<Tuning> = { isSoftware: false, usesSubgroups: true };
/** A direct competitor has seven or eight. */
const MAX_DISPATCHES_PER_LAYER = 8;
const IDS = Array.from({ length: 37 }, (_, index) => (index * 7 + 3) % 29);

let gpu: TestGpu;
let model: ModelFolder | null = null;
const slices: GpuSlice[] = [];
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterEach(async () => {
  for (const slice of slices.splice(0)) slice.dispose();
  await model?.remove();
  model = null;
});

async function openModel(architecture: Architecture, format: TensorFormat): Promise<Checkpoint> {
  model = await writeRandomModel({ architecture, format });
  return openCheckpoint(new FolderSource(model.folder));
}

async function load(
  checkpoint: Checkpoint,
  slice: SliceRange,
  options: Partial<GpuSliceOptions> = {},
): Promise<GpuSlice> {
  const loaded = await GpuSlice.load({
    device: gpu.engine,
    checkpoint,
    slice,
    precision: 'f32',
    cacheTokens: 256,
    ...options,
  });
  slices.push(loaded);
  return loaded;
}

/** Hidden states after each slice, and logits, of IDS fed in chunks through a chain. Blocks are not in order. */
async function runChain(chain: readonly GpuSlice[], chunkRows: number, blockTable = [5, 2, 9, 0]) {
  const hidden: Float32Array[] = chain.map(() => new Float32Array(0));
  let logits = new Float32Array(0);
  for (let start = 0; start < IDS.length; start += chunkRows) {
    const chunk = IDS.slice(start, start + chunkRows);
    const sequences = [
      { rowCount: chunk.length, cacheLength: start, blockTable, head: { kind: 'logits' as const } },
    ];
    let values: Float32Array | null = null;
    for (const [index, slice] of chain.entries()) {
      const result = await slice.forward({
        sequences,
        input: values
          ? { kind: 'activations', values }
          : { kind: 'tokens', tokenIds: Uint32Array.from(chunk) },
      });
      values = result.hiddenStates;
      if (values) hidden[index] = Float32Array.from([...(hidden[index] ?? []), ...values]);
      const [head] = result.sequences;
      if (head?.kind === 'logits') logits = Float32Array.from([...logits, ...head.values]);
    }
  }
  return { hidden, logits };
}

describe.each(FAMILIES)('a random %s model', (_, architecture, format) => {
  const oneLayerEach = Array.from({ length: architecture.layerCount }, (__, layer) => ({
    layerStart: layer,
    layerEnd: layer + 1,
  }));

  it.each(['f32', 'f16'] as const)(
    `stored as ${format} gives the reference's hidden states and logits, layer by layer, at %s`,
    async (precision) => {
      const checkpoint = await openModel(architecture, format);
      const expected = referenceForward(await loadReferenceWeights(checkpoint), IDS);
      const chain: GpuSlice[] = [];
      for (const range of oneLayerEach) chain.push(await load(checkpoint, range, { precision }));
      const actual = await runChain(chain, IDS.length);
      const tolerance = precision === 'f32' ? F32_TOLERANCE : F16_TOLERANCE;
      for (let layer = 0; layer < architecture.layerCount - 1; layer++) {
        const error = relativeError(actual.hidden[layer] ?? [], expected.hiddenByLayer[layer + 1] ?? []);
        expect(error, `after layer ${layer}`).toBeLessThan(tolerance);
      }
      expect(relativeError(actual.logits, expected.logits), 'logits').toBeLessThan(tolerance);
    },
  );

  it.each([
    ['on a GPU with warps', HARDWARE],
    ['on a GPU with subgroups', HARDWARE_SUBGROUPS],
    ['on a CPU without subgroups', { isSoftware: true, usesSubgroups: false }],
  ])('gives the same logits laid out as %s', async (_name, changes) => {
    const checkpoint = await openModel(architecture, format);
    const expected = referenceForward(await loadReferenceWeights(checkpoint), IDS);
    const own = KernelCompiler.of(gpu.device).tuning;
    const tuning = { ...own, ...changes };
    expect(tuning).not.toEqual(own);
    const whole = await load(
      checkpoint,
      { layerStart: 0, layerEnd: architecture.layerCount },
      { compiler: new KernelCompiler(gpu.device, tuning) },
    );
    for (const chunkRows of [3, IDS.length]) {
      const { logits } = await runChain([whole], chunkRows);
      expect(relativeError(logits, expected.logits), `chunks of ${chunkRows}`).toBeLessThan(F32_TOLERANCE);
    }
  });

  it.each([1, 5, 16])('gives the same logits whole as cut, prompt in chunks of %i', async (chunkRows) => {
    const checkpoint = await openModel(architecture, format);
    const expected = referenceForward(await loadReferenceWeights(checkpoint), IDS);
    const whole = await load(checkpoint, { layerStart: 0, layerEnd: architecture.layerCount });
    const { logits } = await runChain([whole], chunkRows);
    expect(relativeError(logits, expected.logits)).toBeLessThan(F32_TOLERANCE);
    if (chunkRows === 1) {
      expect(whole.dispatchesPerLayer).toBeGreaterThan(0);
      expect(whole.dispatchesPerLayer).toBeLessThanOrEqual(MAX_DISPATCHES_PER_LAYER);
    }
  });
});

describe('a quantised model', () => {
  const architecture = {
    ...TINY_QWEN2,
    headCount: 4,
    kvHeadCount: 2,
    headDim: 32,
    hiddenSize: 128,
    intermediateSize: 352,
    vocabSize: 67,
  };
  const wholeModel = { layerStart: 0, layerEnd: architecture.layerCount };

  it.each(['int4', 'int8'] as const)(
    'of %s gives the logits of its dequantised weights',
    async (quantization) => {
      const checkpoint = quantizedCheckpoint(await openModel(architecture, 'bf16'), quantization);
      const expected = referenceForward(await loadReferenceWeights(checkpoint), IDS);
      const whole = await load(checkpoint, wholeModel);
      for (const chunkRows of [1, IDS.length]) {
        const { logits } = await runChain([whole], chunkRows);
        expect(relativeError(logits, expected.logits), `chunks of ${chunkRows}`).toBeLessThan(F32_TOLERANCE);
        expect(whole.dispatchesPerLayer).toBeLessThanOrEqual(MAX_DISPATCHES_PER_LAYER);
      }
    },
  );

  it.each(['int4', 'int8'] as const)(
    'of %s with int8 activations gives the logits of rounded activations',
    async (quantization) => {
      const checkpoint = quantizedCheckpoint(await openModel(architecture, 'bf16'), quantization);
      const weights = await loadReferenceWeights(checkpoint);
      const { logits: unrounded } = referenceForward(weights, IDS);
      const { logits: rounded } = referenceForward({ ...weights, roundRows: roundActivations }, IDS);
      const distance = relativeError(rounded, unrounded);
      expect(distance).toBeGreaterThan(100 * F32_TOLERANCE);
      const whole = await load(checkpoint, wholeModel, { activations: 'int8' });
      for (const chunkRows of [1, IDS.length]) {
        const { logits } = await runChain([whole], chunkRows);
        // Not to f32 rounding: a value at the edge between two codes may fall to either side, and what follows falls otherwise.
        // Without rounding, or with another, it is the whole distance or more. The kernels' own tests hold every bit.
        expect(relativeError(logits, rounded), `chunks of ${chunkRows}`).toBeLessThan(0.75 * distance);
        expect(whole.dispatchesPerLayer).toBeLessThanOrEqual(MAX_DISPATCHES_PER_LAYER);
      }
    },
  );

  it('refuses int8 activations where no matrix takes them', async () => {
    const floats = await openModel(architecture, 'bf16');
    await expect(load(floats, wholeModel, { activations: 'int8' })).rejects.toMatchObject({
      code: 'bad-argument',
    });
  });

  it('takes joined projections that are stored in different ways, cut at the binding limit', async () => {
    const floats = await openModel(architecture, 'bf16');
    const [int4, int8] = [quantizedCheckpoint(floats, 'int4'), quantizedCheckpoint(floats, 'int8')];
    const checkpoint: Checkpoint = {
      ...int4,
      sizeBytes: (name) => sourceOf(name).sizeBytes(name),
      read: (name, shape, signal) => sourceOf(name).read(name, shape, signal),
    };
    const sourceOf = (name: string) =>
      name.includes('v_proj') ? int8 : name.includes('up_proj') || name.includes('o_proj') ? floats : int4;
    const expected = referenceForward(await loadReferenceWeights(checkpoint), IDS);
    // Less than the widest matrix, gate and up as f32, has; room for the buffers of a small pass.
    const limitBytes = 352 * 128 * Float32Array.BYTES_PER_ELEMENT;
    const whole = await load(checkpoint, wholeModel, {
      device: withBindingLimit(gpu.engine, limitBytes),
      maxBatchRows: 8,
      cacheTokens: 48,
    });
    const { logits } = await runChain([whole], 8, [1, 0, 2]);
    expect(relativeError(logits, expected.logits)).toBeLessThan(F32_TOLERANCE);
    // One more for the values' projection, and one for the second half of gate and up.
    expect(whole.dispatchesPerLayer).toBeGreaterThan(MAX_DISPATCHES_PER_LAYER);
  });

  it('names the tensor whose groups no kernel takes', async () => {
    const int4 = quantizedCheckpoint(await openModel(architecture, 'bf16'), 'int4');
    const checkpoint: Checkpoint = {
      ...int4,
      read: async (name, shape, signal) => {
        const tensor = await int4.read(name, shape, signal);
        if (tensor.kind === 'dense' || !name.includes('down_proj')) return tensor;
        return { ...tensor, format: { ...tensor.format, groupSize: 12 } };
      },
    };
    const error = await refusalOf(() => load(checkpoint, wholeModel));
    expect(error).toMatchObject({ code: 'model-unsupported', data: { groupSize: 12 } });
    expect(error.message).toContain('model.layers.0.mlp.down_proj.weight');
  });
});

describe('GpuSlice', () => {
  const [, architecture] = FAMILIES[3] ?? FAMILIES[0] ?? ['', TINY_LLAMA];
  const wholeModel = { layerStart: 0, layerEnd: architecture.layerCount };

  it('splits matrices over the binding limit and computes the same', async () => {
    const wide = { ...architecture, vocabSize: 4093 };
    const checkpoint = await openModel(wide, 'f32');
    const expected = referenceForward(await loadReferenceWeights(checkpoint), IDS);
    // Room for a third of the vocabulary's matrix, and for every other buffer of a small pass.
    const limitBytes = Math.floor((wide.vocabSize * wide.hiddenSize * Float32Array.BYTES_PER_ELEMENT) / 3);
    const whole = await load(checkpoint, wholeModel, {
      device: withBindingLimit(gpu.engine, limitBytes),
      maxBatchRows: 8,
      cacheTokens: 48,
    });
    const { logits } = await runChain([whole], 8, [1, 0, 2]);
    expect(relativeError(logits, expected.logits)).toBeLessThan(F32_TOLERANCE);
  });

  it('keeps an int8 cache that gives the same logits whole as cut, in chunks of any size', async () => {
    const checkpoint = await openModel(architecture, 'f32');
    const expected = referenceForward(await loadReferenceWeights(checkpoint), IDS);
    const cut = [
      { layerStart: 0, layerEnd: 1 },
      { layerStart: 1, layerEnd: architecture.layerCount },
    ];
    const whole = [await load(checkpoint, wholeModel, { cacheFormat: 'int8' })];
    const stages = await Promise.all(cut.map((slice) => load(checkpoint, slice, { cacheFormat: 'int8' })));
    const { logits } = await runChain(whole, IDS.length);
    for (const [chain, chunkRows] of [
      [whole, 1],
      [whole, 5],
      [stages, 7],
    ] as const) {
      const { logits: other } = await runChain(chain, chunkRows);
      expect(relativeError(other, logits)).toBeLessThan(INT8_CACHE_TOLERANCE);
    }
    // What rounding to 8 bits costs; nothing would mean that nothing was rounded.
    const rounding = relativeError(logits, expected.logits);
    expect(rounding).toBeGreaterThan(INT8_CACHE_TOLERANCE);
    expect(rounding).toBeLessThan(0.02);
  });

  it('reports progress up to the bytes of its tensors', async () => {
    const checkpoint = await openModel(architecture, 'bf16');
    const seen: { loadedBytes: number; totalBytes: number }[] = [];
    await load(checkpoint, wholeModel, { onProgress: (progress) => seen.push(progress) });
    const last = seen.at(-1);
    expect(last?.loadedBytes).toBe(last?.totalBytes);
    expect(seen.map(({ loadedBytes }) => loadedBytes)).toEqual(
      seen.map(({ loadedBytes }) => loadedBytes).sort((a, b) => a - b),
    );
    expect(seen.length).toBeGreaterThan(architecture.layerCount);
  });

  it('stops loading when it is cancelled', async () => {
    const checkpoint = await openModel(architecture, 'bf16');
    const abort = new AbortController();
    const loading = load(checkpoint, wholeModel, {
      signal: abort.signal,
      onProgress: ({ loadedBytes }) => {
        if (loadedBytes > 0) abort.abort();
      },
    });
    await expect(loading).rejects.toMatchObject({ code: 'aborted' });
  });

  it('says how much memory was missing when the buffers of a pass do not fit', async () => {
    const checkpoint = await openModel(architecture, 'bf16');
    const error = await refusalOf(() => load(checkpoint, wholeModel, { maxBatchRows: 2 ** 30 }));
    expect(error).toMatchObject({ code: 'out-of-memory' });
    expect(error.message).toMatch(/\d+ bytes/);
  });

  it('names the config field whose size no kernel takes', async () => {
    const checkpoint = await openModel({ ...architecture, hiddenSize: 36 }, 'bf16');
    const error = await refusalOf(() => load(checkpoint, wholeModel));
    expect(error).toMatchObject({ code: 'model-unsupported', data: { field: 'hidden_size' } });
  });

  it('refuses a pass after it was freed, and one on a lost device', async () => {
    const checkpoint = await openModel(architecture, 'bf16');
    const batch = {
      sequences: [{ rowCount: 1, cacheLength: 0, blockTable: [0], head: { kind: 'none' as const } }],
      input: { kind: 'tokens' as const, tokenIds: Uint32Array.of(1) },
    };
    const freed = await load(checkpoint, wholeModel);
    freed.dispose();
    await expect(freed.forward(batch)).rejects.toMatchObject({ code: 'aborted' });

    const other = await openTestGpu();
    const orphan = await load(checkpoint, wholeModel, { device: other.engine });
    other.device.destroy();
    await other.engine.lost;
    await expect(orphan.forward(batch)).rejects.toMatchObject({ code: 'device-lost' });
  });

  it('believes nothing after the GPU refused a command', async () => {
    const checkpoint = await openModel(architecture, 'bf16');
    const other = await openTestGpu();
    const slice = await load(checkpoint, wholeModel, { device: other.engine });
    const refused = new Promise((resolve) => other.device.addEventListener('uncapturederror', resolve));
    other.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
    await refused;
    const pass = slice.forward({
      sequences: [{ rowCount: 1, cacheLength: 0, blockTable: [0], head: { kind: 'none' } }],
      input: { kind: 'tokens', tokenIds: Uint32Array.of(1) },
    });
    await expect(pass).rejects.toMatchObject({ code: 'device-lost' });
  });

  it('holds no more positions than its cache, however long the model could go on', async () => {
    const checkpoint = await openModel({ ...architecture, contextLength: 1 << 20 }, 'bf16');
    const slice = await load(checkpoint, wholeModel, { cacheTokens: 50 });
    expect(slice.contextLength).toBe(64);
  });

  it('keeps sequences apart in one pass, prompts and single tokens mixed', async () => {
    const checkpoint = await openModel(architecture, 'f32');
    const reference = await loadReferenceWeights(checkpoint);
    const slice = await load(checkpoint, wholeModel);
    const prompts = [IDS.slice(0, 20), IDS.slice(5, 6), IDS.slice(9, 26), IDS.slice(3, 11)];
    const tables = [[7, 1], [4], [11, 3], [6]];
    expect(BLOCK_TOKENS).toBe(16);
    const result = await slice.forward({
      sequences: prompts.map((ids, index) => ({
        rowCount: ids.length,
        cacheLength: 0,
        blockTable: tables[index] ?? [],
        head: { kind: 'logits' },
      })),
      input: { kind: 'tokens', tokenIds: Uint32Array.from(prompts.flat()) },
    });
    prompts.forEach((ids, index) => {
      const head = result.sequences[index];
      const logits = head?.kind === 'logits' ? head.values : [];
      expect(relativeError(logits, referenceForward(reference, ids).logits)).toBeLessThan(F32_TOLERANCE);
    });
  });
});

/** The same device, which claims to bind at most `limitBytes`. */
function withBindingLimit(engine: EngineDevice, limitBytes: number): EngineDevice {
  const limits = new Proxy(engine.device.limits, {
    get: (target, name) =>
      name === 'maxStorageBufferBindingSize' ? limitBytes : (Reflect.get(target, name) as unknown),
  });
  const device = new Proxy(engine.device, {
    get: (target, name) => {
      if (name === 'limits') return limits;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return { ...engine, device };
}

import { describe, expect, it } from 'vitest';
import { HttpSource } from '../../../../src/model/http-source.ts';
import { openCheckpoint } from '../../../../src/model/open-checkpoint.ts';
import { dequantize } from '../../../../src/model/quantized.ts';
import { sliceTensors } from '../../../../src/model/tensor-names.ts';
import type { Architecture } from '../../../../src/model/architecture.ts';
import type { Tensor } from '../../../../src/model/checkpoint.ts';
import { TINY_LLAMA, TINY_QWEN2, TINY_QWEN3 } from '../../../fixtures/architectures.ts';
import { refusalOf } from '../../../fixtures/errors.ts';
import { ggufFile } from '../../../fixtures/gguf-file.ts';
import type { GgufEntry, GgufToWrite } from '../../../fixtures/gguf-file.ts';
import { ggufMetadata, ggufTensors, toGgufName } from '../../../fixtures/gguf-model.ts';
import { MemorySource } from '../../../fixtures/memory-source.ts';
import { ModelServer } from '../../../fixtures/model-server.ts';
import { randomBytes } from '../../../fixtures/random-bytes.ts';
import { randomTensors } from '../../../fixtures/random-model.ts';
import { dequantizeBlocks, REFERENCE_TYPES } from '../../../reference/gguf-blocks.ts';
import { decodeElements, encodeElements } from '../../../reference/number-formats.ts';

const FILE = 'model-q.gguf';
const DOWN = 'model.layers.0.mlp.down_proj.weight';
/** What GGUF can say: Llama 3's scaling only as it was published. */
const LLAMA: Architecture = { ...TINY_LLAMA, ropeScaling: null };

const open = (file: GgufToWrite) => openCheckpoint(new MemorySource({ [FILE]: ggufFile(file) }));

/** A model in f32 that GGUF's converter could have written. */
function floatModel(architecture: Architecture): GgufToWrite {
  const tensors = new Map(
    randomTensors({ architecture, format: 'f32' }).map((tensor) => [tensor.name, tensor]),
  );
  const rowsOf = (name: string): Float64Array[] => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`There is no ${name}.`);
    const values = decodeElements('f32', tensor.bytes);
    const columns = tensor.shape.at(-1) ?? 1;
    return Array.from({ length: values.length / columns }, (_, row) =>
      values.subarray(row * columns, (row + 1) * columns),
    );
  };
  return {
    metadata: ggufMetadata(architecture),
    tensors: ggufTensors(architecture, rowsOf, (_, values) => ({
      type: 0,
      bytes: encodeElements('f32', values),
    })),
  };
}

describe.each([LLAMA, TINY_QWEN2, TINY_QWEN3])('a GGUF file of a $family model', (architecture) => {
  it('has the architecture and every tensor under its Hugging Face name, rows in place', async () => {
    const checkpoint = await open(floatModel(architecture));
    expect(checkpoint.architecture).toEqual(architecture);
    expect(checkpoint.quantization).toBeNull();
    const specs = sliceTensors(architecture, { layerStart: 0, layerEnd: architecture.layerCount });
    const read = await Promise.all(specs.map(({ name, shape }) => checkpoint.read(name, shape)));
    expect(read).toEqual(randomTensors({ architecture, format: 'f32' }));
  });

  it('is read by the ranges of the tensors asked for', async () => {
    const source = new MemorySource({ [FILE]: ggufFile(floatModel(architecture)) });
    const checkpoint = await openCheckpoint(source);
    const before = source.reads.length;
    const shape = [architecture.hiddenSize, architecture.intermediateSize];
    await checkpoint.read(DOWN, shape);
    expect(source.reads.slice(before).map(({ start, end }) => end - start)).toEqual([
      4 * architecture.hiddenSize * architecture.intermediateSize,
    ]);
  });
});

it('comes over HTTP by its ranges, from a URL that names the file', async () => {
  const file = ggufFile(floatModel(LLAMA));
  const server = await ModelServer.start(new Map([['m/Tiny Q4.gguf', file]]));
  try {
    const checkpoint = await openCheckpoint(new HttpSource(`${server.url}/m/Tiny%20Q4.gguf`));
    const shape = [LLAMA.hiddenSize, LLAMA.intermediateSize];
    const tensor = await checkpoint.read(DOWN, shape);
    expect(tensor).toEqual(
      randomTensors({ architecture: LLAMA, format: 'f32' }).find(({ name }) => name === DOWN),
    );
    expect(new Set(server.requests.map(({ path }) => path))).toEqual(new Set(['m/Tiny%20Q4.gguf']));
    const firstRead = 64 * 1024;
    const sent = server.sentBytes.get('m/Tiny Q4.gguf') ?? 0;
    expect(sent).toBeLessThanOrEqual(1 + firstRead + 4 * LLAMA.hiddenSize * LLAMA.intermediateSize);
  } finally {
    await server.stop();
  }
});

/** The f16 fields of a block hold every kind of number but infinities and NaN. */
function finiteHalves(bytes: Uint8Array<ArrayBuffer>, blockBytes: number, fields: readonly number[]) {
  for (let block = 0; block < bytes.length; block += blockBytes) {
    for (const field of fields) {
      const high = block + field + 1;
      if (((bytes[high] ?? 0) & 0x7c) === 0x7c) bytes[high] = (bytes[high] ?? 0) & 0xbb;
    }
  }
  return bytes;
}

const HALF_FIELDS: Readonly<Record<string, readonly number[]>> = {
  F16: [0],
  BF16: [0],
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
};

describe.each(REFERENCE_TYPES)('type $name', (type) => {
  const shape = [6, 512];
  const elements = 6 * 512;
  const bytes = finiteHalves(
    randomBytes((elements / type.blockElements) * type.blockBytes, 21),
    type.blockBytes,
    HALF_FIELDS[type.name] ?? [],
  );
  const file = (name: string): GgufToWrite => ({
    metadata: ggufMetadata(LLAMA),
    tensors: [
      { name: 'token_embd.weight', type: 0, shape: [131, 48], bytes: new Uint8Array(131 * 48 * 4) },
      { name: toGgufName(name), type: type.id, shape, bytes },
    ],
  });

  it('has the values of the stored bytes, bit for bit', async () => {
    const tensor = await (await open(file(DOWN))).read(DOWN, shape);
    expect(bits(values(tensor))).toEqual(bits(dequantizeBlocks(type, bytes)));
  });

  it('takes the bytes it said', async () => {
    const checkpoint = await open(file(DOWN));
    const tensor = await checkpoint.read(DOWN, shape);
    const size =
      tensor.kind === 'quantized' ? tensor.codes.length + tensor.scales.length : tensor.bytes.length;
    expect(await checkpoint.sizeBytes(DOWN)).toBe(size);
  });
});

describe('quantised rows of Q', () => {
  it('are put back in order whole', async () => {
    const q4 = REFERENCE_TYPES.find(({ name }) => name === 'Q4_0');
    if (!q4) throw new Error('There is no Q4_0.');
    const name = 'model.layers.0.self_attn.q_proj.weight';
    const shape = [48, 32];
    const stored = finiteHalves(randomBytes(48 * 18, 5), 18, [0]);
    const checkpoint = await open({
      metadata: ggufMetadata(LLAMA),
      tensors: [
        { name: 'token_embd.weight', type: 0, shape: [131, 48], bytes: new Uint8Array(131 * 48 * 4) },
        { name: toGgufName(name), type: 2, shape, bytes: stored },
      ],
    });
    const read = values(await checkpoint.read(name, shape));
    const inFile = dequantizeBlocks(q4, stored);
    // Head dim 8: row 0 of a head stays, its row 1 is the third in the file, its row 4 the second.
    for (const [row, fileRow] of [
      [0, 0],
      [1, 2],
      [4, 1],
      [7, 7],
      [8, 8],
      [13, 11],
    ] as const) {
      expect(read.subarray(row * 32, row * 32 + 32)).toEqual(
        inFile.subarray(fileRow * 32, fileRow * 32 + 32),
      );
    }
  });
});

describe('a GGUF file that is not for Skein', () => {
  const model = floatModel(LLAMA);
  const withEntry = (key: string, value: number | string): GgufToWrite => ({
    ...model,
    metadata: { ...model.metadata, [key]: { type: typeof value === 'number' ? 'u32' : 'string', value } },
  });

  it.each([
    ['general.architecture', 'mamba'],
    ['llama.expert_count', 8],
    ['llama.rope.scaling.type', 'yarn'],
    ['llama.rope.dimension_count', 4],
    ['llama.attention.value_length', 16],
    ['split.count', 3],
  ])('has %s = %s', async (key, value) => {
    const refusal = await refusalOf(() => open(withEntry(key, value)));
    expect(refusal).toMatchObject({
      code: 'model-unsupported',
      data: { file: `memory/${FILE}`, field: key },
    });
  });

  it('is of another version', async () => {
    for (const version of [1, 4, 0x0300_0000]) {
      const refusal = await refusalOf(() => open({ ...model, version }));
      expect(refusal).toMatchObject({ code: 'model-unsupported', data: { version } });
    }
  });

  it('lacks a number that the architecture has', async () => {
    const metadata = Object.fromEntries(
      Object.entries(model.metadata).filter(([key]) => key !== 'llama.block_count'),
    );
    expect((await refusalOf(() => open({ ...model, metadata }))).code).toBe('model-corrupt');
  });

  it('has a tensor of a type nobody reads, and says which', async () => {
    const tensors = model.tensors.map((tensor) =>
      tensor.name === 'blk.0.ffn_down.weight' ? { ...tensor, type: 20 } : tensor,
    );
    const checkpoint = await open({ ...model, tensors });
    const refusal = await refusalOf(() => checkpoint.read(DOWN, [48, 104]));
    expect(refusal).toMatchObject({ code: 'model-unsupported', data: { tensor: DOWN, type: 20 } });
  });

  it('has biases that Llama lacks', async () => {
    const bias = { name: 'blk.0.attn_q.bias', type: 0, shape: [48], bytes: new Uint8Array(192) };
    const refusal = await refusalOf(() => open({ ...model, tensors: [...model.tensors, bias] }));
    expect(refusal).toMatchObject({ code: 'model-unsupported', data: { field: 'attention_bias' } });
  });
});

describe('the window of a GGUF file', () => {
  const u32 = (value: number): GgufEntry => ({ type: 'u32', value });
  const flags = (...values: boolean[]): GgufEntry => ({ type: 'array', of: 'bool', values });
  const openWith = (architecture: Architecture, entries: Readonly<Record<string, GgufEntry>>) => {
    const model = floatModel(architecture);
    const named = Object.entries(entries).map(([key, entry]) => [`${architecture.family}.${key}`, entry]);
    const metadata = { ...model.metadata, ...(Object.fromEntries(named) as Record<string, GgufEntry>) };
    return open({ ...model, metadata });
  };
  const every = (architecture: Architecture, isWindowed: (layer: number) => boolean) =>
    flags(...Array.from({ length: architecture.layerCount }, (_, layer) => isWindowed(layer)));
  const WINDOW = 'attention.sliding_window';
  const PATTERN = 'attention.sliding_window_pattern';

  it.each([LLAMA, TINY_QWEN2, TINY_QWEN3])(
    'is in the layers of $family that its pattern says',
    async (tiny) => {
      const pattern = every(tiny, (layer) => layer !== 1);
      const { architecture } = await openWith(tiny, { [WINDOW]: u32(40), [PATTERN]: pattern });
      const layers = Array.from({ length: tiny.layerCount }, (_, layer) => layer).filter(
        (layer) => layer !== 1,
      );
      expect(architecture).toEqual({ ...tiny, slidingWindow: { tokens: 40, layers } });
    },
  );

  it('is in every layer of a llama file without a pattern', async () => {
    const { architecture } = await openWith(LLAMA, { [WINDOW]: u32(4096) });
    const layers = Array.from({ length: LLAMA.layerCount }, (_, layer) => layer);
    expect(architecture.slidingWindow).toEqual({ tokens: 4096, layers });
  });

  it('is none where it has no tokens or no layers', async () => {
    for (const entries of [
      { [WINDOW]: u32(0) },
      { [WINDOW]: u32(0), [PATTERN]: u32(6) },
      { [WINDOW]: u32(8), [PATTERN]: every(TINY_QWEN3, () => false) },
    ]) {
      expect((await openWith(TINY_QWEN3, entries)).architecture).toEqual(TINY_QWEN3);
    }
  });

  it('may say again what holds for all layers', async () => {
    const base: GgufEntry = { type: 'f32', value: LLAMA.ropeTheta };
    const entries = {
      [WINDOW]: u32(8),
      'rope.freq_base_swa': base,
      'attention.key_length_swa': u32(LLAMA.headDim),
    };
    expect((await openWith(LLAMA, entries)).architecture.slidingWindow?.tokens).toBe(8);
  });

  it.each([
    ['without the layers', PATTERN, TINY_QWEN2, {}],
    ['with a period', PATTERN, LLAMA, { [PATTERN]: u32(2) }],
    ['with a pattern of one layer less', PATTERN, TINY_QWEN3, { [PATTERN]: flags(true, false) }],
    ['with numbers', PATTERN, LLAMA, { [PATTERN]: { type: 'array', of: 'i32', values: [1, 0, 1] } }],
    ['with a rotation of its own', 'rope.freq_base_swa', LLAMA, { 'rope.freq_base_swa': u32(777) }],
    ['with heads of its own', 'attention.value_length_swa', LLAMA, { 'attention.value_length_swa': u32(4) }],
  ] as const)('is refused %s, by the key %s', async (_words, key, tiny, entries) => {
    const refusal = await refusalOf(() => openWith(tiny, { [WINDOW]: u32(16), ...entries }));
    expect(refusal).toMatchObject({
      code: 'model-unsupported',
      data: { file: `memory/${FILE}`, field: `${tiny.family}.${key}` },
    });
  });

  it.each([
    { type: 'i32', value: -1 },
    { type: 'f32', value: 16.5 },
    { type: 'string', value: '16' },
    { type: 'bool', value: true },
  ] as const)('is no %j', async (entry) => {
    const refusal = await refusalOf(() => openWith(LLAMA, { [WINDOW]: entry }));
    expect(refusal).toMatchObject({
      code: 'model-corrupt',
      data: { field: 'llama.attention.sliding_window' },
    });
  });
});

describe("Llama 3's rotary scaling", () => {
  const architecture: Architecture = {
    ...TINY_LLAMA,
    headDim: 32,
    ropeScaling: {
      kind: 'llama3',
      factor: 32,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 8192,
    },
  };
  /** As llama.cpp's converter computes them. */
  const factors = Float32Array.from({ length: 16 }, (_, pair) => {
    const waveLength = 2 * Math.PI * architecture.ropeTheta ** (pair / 16);
    if (waveLength < 8192 / 4) return 1;
    if (waveLength > 8192) return 32;
    const smooth = (8192 / waveLength - 1) / 3;
    return 1 / ((1 - smooth) / 32 + smooth);
  });
  const withFactors = (values: Float32Array): GgufToWrite => {
    const { metadata, tensors } = floatModel(architecture);
    const bytes = new Uint8Array(values.slice().buffer);
    return { metadata, tensors: [...tensors, { name: 'rope_freqs.weight', type: 0, shape: [16], bytes }] };
  };

  it('is known by its factors', async () => {
    expect(new Set(factors).size).toBeGreaterThan(2);
    expect((await open(withFactors(factors))).architecture).toEqual(architecture);
  });

  it('is refused when the factors are others', async () => {
    const refusal = await refusalOf(() =>
      open(withFactors(factors.map((value, i) => (i === 8 ? value * 1.01 : value)))),
    );
    expect(refusal).toMatchObject({ code: 'model-unsupported', data: { field: 'rope_freqs.weight' } });
  });
});

function values(tensor: Tensor): Float32Array {
  if (tensor.kind === 'quantized') return dequantize(tensor);
  return Float32Array.from(decodeElements(tensor.format, tensor.bytes));
}

/** The sign of a zero counts too; NaNs are all one. */
function bits(floats: Float32Array): Uint32Array {
  return new Uint32Array(floats.map((value) => (Number.isNaN(value) ? NaN : value)).buffer);
}

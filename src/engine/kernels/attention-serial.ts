import attentionCode from '../../../shaders/attention.wgsl?raw';
import code from '../../../shaders/attention_serial.wgsl?raw';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import { PREFILL_TILE_ROWS } from '../step.ts';
import type { StepKernel } from '../step.ts';
import { cacheOverrides, checkAttentionShape, checkPrefillStep, scoreOverrides } from './attention-shape.ts';
import type {
  AttentionDecodeBuffers,
  AttentionPrefillBuffers,
  AttentionShape,
  CacheFormat,
} from './attention-shape.ts';
import { checkDecodeShape, checkDecodeStep, SERIAL_PARTS } from './attention-splits.ts';
import type { DecodeShape } from './attention-splits.ts';

const source: KernelSource = {
  name: 'attention_serial',
  code: attentionCode + code,
  bindings: {
    step: 'uniform',
    qkv: 'read',
    keys: 'read',
    values: 'read',
    block_tables: 'read',
    tiles: 'read',
    sinks: 'read',
    output: 'read-write',
    stats: 'read-write',
  },
};

/** As the shader has them. */
const LANES = 8;
const QUAD_PAIRS = 4;
/** Words that four elements of a head take in the cache. */
const COLUMN_WORDS: Readonly<Record<CacheFormat, number>> = { f32: 4, f16: 2, int8: 1 };

/** `createAttentionDecode` for software adapters: the same buffers and the same `attention_reduce` behind it. */
export async function createSerialDecode(
  compiler: KernelCompiler,
  shape: DecodeShape,
  buffers: AttentionDecodeBuffers,
): Promise<StepKernel> {
  const { name } = source;
  checkDecodeShape(name, shape);
  const encode = await createSerial(compiler, shape, {
    ...buffers,
    tiles: buffers.decodeInfo,
    // attention_reduce is where sinks come in.
    sinks: null,
    output: buffers.partials,
    stats: buffers.partialStats,
    tileRows: 1,
    parts: SERIAL_PARTS,
  });
  return {
    name: 'attention_decode',
    encode: (pass, step) => {
      if (step.decodeRows === 0) return;
      checkDecodeStep(name, shape, buffers, step);
      encode(pass, step.decodeRows);
    },
  };
}

/** `createAttentionPrefill` for software adapters. */
export async function createSerialPrefill(
  compiler: KernelCompiler,
  shape: AttentionShape,
  buffers: AttentionPrefillBuffers,
): Promise<StepKernel> {
  const { name } = source;
  const encode = await createSerial(compiler, shape, {
    ...buffers,
    tiles: buffers.prefillInfo,
    output: buffers.attended,
    // Nothing is left to merge, so this one stays as it is.
    stats: buffers.partialStats,
    tileRows: PREFILL_TILE_ROWS,
    parts: 1,
  });
  return {
    name: 'attention_prefill',
    encode: (pass, step) => {
      if (step.prefillTiles === 0) return;
      checkPrefillStep(name, shape, buffers, step);
      encode(pass, step.prefillTiles);
    },
  };
}

interface SerialBuffers {
  readonly step: GPUBuffer;
  readonly qkv: GPUBuffer;
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
  readonly blockTables: GPUBuffer;
  readonly tiles: GPUBuffer;
  readonly sinks: GPUBuffer | null;
  readonly output: GPUBuffer;
  readonly stats: GPUBuffer;
  /** Rows of the largest tile. */
  readonly tileRows: number;
  /** Parts that the keys of a tile are cut into. */
  readonly parts: number;
}

async function createSerial(
  compiler: KernelCompiler,
  shape: AttentionShape,
  buffers: SerialBuffers,
): Promise<(pass: Parameters<StepKernel['encode']>[0], tileCount: number) => void> {
  checkAttentionShape(source.name, shape);
  const { sinks, tileRows, parts } = buffers;
  const kernel = await compiler.compile(source, {
    ...cacheOverrides(shape),
    ...scoreOverrides(shape),
    column_words: COLUMN_WORDS[shape.cacheFormat],
    has_sinks: sinks === null ? 0 : 1,
    tile_rows: tileRows,
    parts,
  });
  const bound = bindKernel(compiler.device, kernel, {
    step: buffers.step,
    qkv: buffers.qkv,
    keys: buffers.keys,
    values: buffers.values,
    block_tables: buffers.blockTables,
    tiles: buffers.tiles,
    // Every binding needs a buffer; without sinks this one is never read.
    sinks: sinks ?? buffers.qkv,
    output: buffers.output,
    stats: buffers.stats,
  });
  const quads = Math.ceil((tileRows * (shape.headCount / shape.kvHeadCount)) / QUAD_PAIRS);
  const workgroupsPerTile = Math.ceil((shape.kvHeadCount * quads * parts) / LANES);
  return (pass, tileCount) => {
    dispatchKernel(pass, bound, [workgroupsPerTile, tileCount]);
  };
}

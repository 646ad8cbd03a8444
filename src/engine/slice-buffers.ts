import type { Architecture } from '../model/architecture.ts';
import { CACHE_RESERVE_TOKENS } from '../protocol/limits.ts';
import { BLOCK_TOKENS } from './batch.ts';
import type { GpuMemory } from './gpu-memory.ts';
import type { CacheFormat } from './kernels/attention-shape.ts';
import { decodeSplitTokens, partialsBytes } from './kernels/attention-splits.ts';
import type { DecodeShape } from './kernels/attention-splits.ts';
import { PREFILL_MIN_ROWS, STEP_UNIFORM_BYTES } from './step.ts';

const WORD_BYTES = 4;
/** Largest number of logits kept at once: rows through the head in one pass, times the vocabulary. */
const LOGITS_BYTES = 64 * 1024 * 1024;
/** What split-K decoding may keep between its two kernels; bounds the sequences of a pass on wide models with long contexts. */
const PARTIALS_BYTES = 64 * 1024 * 1024;
const MAX_BATCH_ROWS = 256;
const MAX_BATCH_SEQUENCES = 32;

/** Rows and sequences that one pass of a slice has room for. */
export interface SliceCapacity {
  readonly maxBatchRows: number;
  readonly maxBatchSequences: number;
  readonly maxHeadRows: number;
}

/** @param positions how long a sequence may get here: never more than the cache holds, however long the model's context is. */
export function attentionShape(
  architecture: Architecture,
  cacheFormat: CacheFormat,
  positions: number,
): DecodeShape {
  const { headCount, kvHeadCount, headDim, contextLength } = architecture;
  return {
    headCount,
    kvHeadCount,
    headDim,
    cacheFormat,
    contextLength: positions,
    // Of the model and the usual cache, not of this one: stages of any cache size then give the same bits.
    splitTokens: decodeSplitTokens(Math.min(contextLength, CACHE_RESERVE_TOKENS)),
  };
}

/** What fits the caps above; more can be asked for, within them. */
export function sliceCapacity(
  architecture: Architecture,
  shape: DecodeShape,
  wanted: { readonly maxBatchRows?: number; readonly maxBatchSequences?: number },
): SliceCapacity {
  const oneSequence = partialsBytes(shape, PREFILL_MIN_ROWS - 1).partials;
  const maxBatchRows = wanted.maxBatchRows ?? MAX_BATCH_ROWS;
  const maxBatchSequences = Math.max(
    1,
    Math.min(
      wanted.maxBatchSequences ?? MAX_BATCH_SEQUENCES,
      maxBatchRows,
      Math.floor(PARTIALS_BYTES / oneSequence),
    ),
  );
  const logitsRows = Math.floor(LOGITS_BYTES / (architecture.vocabSize * WORD_BYTES));
  const maxHeadRows = Math.max(maxBatchSequences, Math.min(logitsRows, maxBatchRows));
  return { maxBatchRows, maxBatchSequences, maxHeadRows };
}

/** The buffers of a pass, shared by all layers of a slice. Rows are token rows; everything is f32 unless it says u32. */
export interface SliceBuffers {
  readonly step: GPUBuffer;
  /** u32 [rows]. */
  readonly tokenIds: GPUBuffer;
  readonly rowInfo: GPUBuffer;
  readonly blockTables: GPUBuffer;
  readonly decodeInfo: GPUBuffer;
  readonly prefillInfo: GPUBuffer;
  readonly headInfo: GPUBuffer;
  /** The residual stream, [rows, hidden]. */
  readonly hidden: GPUBuffer;
  /** [rows, (heads + 2 · kv heads) · head dim]. */
  readonly qkv: GPUBuffer;
  readonly partials: GPUBuffer;
  readonly partialStats: GPUBuffer;
  /** [rows, heads · head dim]. */
  readonly attended: GPUBuffer;
  /** [rows, intermediate]. */
  readonly activated: GPUBuffer;
}

/** Only the slice with the head has these. */
export interface HeadBuffers {
  /** [head rows, vocab]. */
  readonly logits: GPUBuffer;
}

export function allocateSliceBuffers(
  memory: GpuMemory,
  architecture: Architecture,
  shape: DecodeShape,
  { maxBatchRows: rows, maxBatchSequences }: SliceCapacity,
): SliceBuffers {
  const { headCount, kvHeadCount, headDim, hiddenSize, intermediateSize } = architecture;
  const words = (label: string, count: number) => memory.storage(label, count * WORD_BYTES);
  const decodeRows = Math.min(rows, maxBatchSequences * (PREFILL_MIN_ROWS - 1));
  const partials = partialsBytes(shape, decodeRows);
  return {
    step: memory.uniform('step', STEP_UNIFORM_BYTES),
    tokenIds: words('token_ids', rows),
    rowInfo: words('row_info', 2 * rows),
    blockTables: words('block_tables', maxBatchSequences * Math.ceil(shape.contextLength / BLOCK_TOKENS)),
    decodeInfo: words('decode_info', 4 * rows),
    // A tile has at least one row.
    prefillInfo: words('prefill_info', 4 * rows),
    headInfo: words('head_info', rows),
    hidden: words('hidden', rows * hiddenSize),
    qkv: words('qkv', rows * (headCount + 2 * kvHeadCount) * headDim),
    partials: memory.storage('partials', partials.partials),
    partialStats: memory.storage('partial_stats', partials.stats),
    attended: words('attended', rows * headCount * headDim),
    activated: words('activated', rows * intermediateSize),
  };
}

export function allocateHeadBuffers(
  memory: GpuMemory,
  { vocabSize }: Architecture,
  { maxHeadRows }: SliceCapacity,
): HeadBuffers {
  return { logits: memory.storage('logits', maxHeadRows * vocabSize * WORD_BYTES) };
}

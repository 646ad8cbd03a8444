import { BLOCK_TOKENS } from '../../src/engine/batch.ts';
import type { KernelCompiler } from '../../src/engine/kernel.ts';
import { createAttentionDecode } from '../../src/engine/kernels/attention-decode.ts';
import { createAttentionPrefill } from '../../src/engine/kernels/attention-prefill.ts';
import { createAttentionReduce } from '../../src/engine/kernels/attention-reduce.ts';
import { attendedRowBytes, attentionScale, qkvRowBytes } from '../../src/engine/kernels/attention-shape.ts';
import { partialsBytes } from '../../src/engine/kernels/attention-splits.ts';
import type { DecodeShape } from '../../src/engine/kernels/attention-splits.ts';
import type { StepKernel } from '../../src/engine/step.ts';
import { randomNormal } from '../fixtures/random-model.ts';
import { attend } from '../reference/attention.ts';
import { decodeCache, encodeCache } from './cache.ts';
import type { TestGpu } from './gpu.ts';
import { pagedBatch, slotOf, uploadBatch } from './paged-batch.ts';
import type { BatchBuffers, PagedBatch, PagedSequence } from './paged-batch.ts';

/** A sequence whose queries, keys and values depend on `seed` and position only: the same ones in any batch. */
export interface AttentionSequence extends PagedSequence {
  readonly seed: number;
}

/** One layer's attention over a ragged batch: inputs, and ways to compute the output. */
export interface AttentionCase {
  readonly shape: DecodeShape;
  readonly sequences: readonly AttentionSequence[];
  readonly batch: PagedBatch;
  /** f32 [rows, headCount + 2 · kvHeadCount, headDim]; what rope_append would leave, with k and v poisoned: nobody may read them here. */
  readonly qkv: Float32Array;
  /** [slot, kvHeadCount, headDim] as stored; NaN in every slot that holds no token of any sequence. */
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  /** f32 [headCount], where the case has them. */
  readonly sinks: Float32Array | null;
}

/** Makes scores of about ±`QUERY_GAIN`, so that weights differ by orders of magnitude and the maximum moves from tile to tile. */
const QUERY_GAIN = 3;

export function attentionCase(
  shape: DecodeShape,
  sequences: readonly AttentionSequence[],
  { queryGain = QUERY_GAIN, hasSinks = false }: { queryGain?: number; hasSinks?: boolean } = {},
): AttentionCase {
  const batch = pagedBatch(sequences);
  const { headCount, kvHeadCount, headDim } = shape;
  const qkvRow = qkvRowBytes(shape) / 4;
  const qkv = new Float32Array(batch.rows.length * qkvRow).fill(NaN);
  const tokenElements = kvHeadCount * headDim;
  const slots = batch.blockCount * BLOCK_TOKENS;
  const keys = new Float64Array(slots * tokenElements).fill(NaN);
  const values = new Float64Array(slots * tokenElements).fill(NaN);
  let row = 0;
  sequences.forEach(({ seed, cacheLength, rowCount }, sequence) => {
    const normal = randomNormal(seed);
    for (let position = 0; position < cacheLength + rowCount; position++) {
      const slot = slotOf(batch, sequence, position);
      keys.set(Float64Array.from({ length: tokenElements }, normal), slot * tokenElements);
      values.set(Float64Array.from({ length: tokenElements }, normal), slot * tokenElements);
      const query = Float32Array.from({ length: headCount * headDim }, () => queryGain * normal());
      if (position >= cacheLength) qkv.set(query, row++ * qkvRow);
    }
  });
  return {
    shape,
    sequences,
    batch,
    qkv,
    keys: encodeCache(shape, keys),
    values: encodeCache(shape, values),
    // From far below the scores to far above.
    sinks: hasSinks ? Float32Array.from({ length: headCount }, (_, head) => 4 * (head % 5) - 8) : null,
  };
}

/** All that the attention kernels of one layer bind; the outputs are poisoned. */
export interface AttentionBuffers extends BatchBuffers {
  readonly qkv: GPUBuffer;
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
  readonly sinks: GPUBuffer | null;
  readonly partials: GPUBuffer;
  readonly partialStats: GPUBuffer;
  /** f32 [rows, headCount, headDim]. */
  readonly attended: GPUBuffer;
}

export function uploadAttention(
  gpu: TestGpu,
  { shape, batch, qkv, keys, values, sinks }: AttentionCase,
): AttentionBuffers {
  const { partials, stats } = partialsBytes(shape, Math.max(1, batch.step.decodeRows));
  return {
    ...uploadBatch(gpu, batch),
    qkv: gpu.upload(qkv),
    keys: gpu.upload(keys),
    values: gpu.upload(values),
    sinks: sinks && gpu.upload(sinks),
    partials: gpu.poisoned(partials / 4),
    partialStats: gpu.poisoned(stats / 4),
    attended: gpu.poisoned((batch.rows.length * attendedRowBytes(shape)) / 4),
  };
}

export function freeAttention(buffers: AttentionBuffers): void {
  for (const buffer of Object.values(buffers) as (GPUBuffer | null)[]) buffer?.destroy();
}

/** The kernels of one layer, in order of dispatch. */
export function attentionKernels(
  compiler: KernelCompiler,
  shape: DecodeShape,
  buffers: AttentionBuffers,
): Promise<StepKernel[]> {
  return Promise.all([
    createAttentionPrefill(compiler, shape, buffers),
    createAttentionDecode(compiler, shape, buffers),
    createAttentionReduce(compiler, shape, buffers),
  ]);
}

/** f32 [rows, headCount, headDim] from the kernels; rows that none of them wrote are NaN. */
export async function attendOnGpu(
  gpu: TestGpu,
  attention: AttentionCase,
  compiler = gpu.compiler,
): Promise<Float32Array> {
  const buffers = uploadAttention(gpu, attention);
  const kernels = await attentionKernels(compiler, attention.shape, buffers);
  await gpu.run(kernels, attention.batch.step);
  const attended = await gpu.readF32(buffers.attended);
  freeAttention(buffers);
  return attended;
}

/** f64 [rows, headCount, headDim] from the values as the cache has them. */
export function attendByReference(attention: AttentionCase): Float64Array {
  const { shape, batch } = attention;
  const { headCount, kvHeadCount, headDim } = shape;
  const keys = decodeCache(shape, new Uint32Array(attention.keys.slice().buffer));
  const values = decodeCache(shape, new Uint32Array(attention.values.slice().buffer));
  const attended = new Float64Array(batch.rows.length * headCount * headDim);
  batch.rows.forEach(({ sequence, position }, row) => {
    const firstKey = Math.max(0, position + 1 - (shape.window ?? Infinity));
    const slots = Array.from({ length: position + 1 - firstKey }, (_, key) =>
      slotOf(batch, sequence, firstKey + key),
    );
    for (let head = 0; head < headCount; head++) {
      const queryStart = (row * (headCount + 2 * kvHeadCount) + head) * headDim;
      const kvHead = Math.floor((head * kvHeadCount) / headCount);
      const headOf = (cache: Float64Array) => (slot: number) => {
        const start = (slot * kvHeadCount + kvHead) * headDim;
        return cache.subarray(start, start + headDim);
      };
      const output = attend(
        attention.qkv.subarray(queryStart, queryStart + headDim),
        slots.map(headOf(keys)),
        slots.map(headOf(values)),
        attentionScale(shape),
        { softCap: shape.softCap, sink: attention.sinks?.[head] },
      );
      attended.set(output, (row * headCount + head) * headDim);
    }
  });
  return attended;
}

import { MAX_TOP_LOG_PROBABILITIES } from '../../protocol/limits.ts';
import type { SamplingParams, TokenLogProbability } from '../../protocol/sampling.ts';

/** Words of one adjustment: token id, f32 addend, flags, and one that the kernel uses. */
export const ADJUSTMENT_WORDS = 4;
/** Of an adjustment: the repetition penalty of its row applies, or the token is never chosen. */
export const ADJUSTMENT_FLAG = { repeated: 1, banned: 2 } as const;

/** Bytes per sampled row of `sample_info`. */
export const SAMPLE_INFO_BYTES = 48;
/** Bytes per sampled row of what is read back. */
export const SAMPLED_BYTES = 8;
/** Bytes per sampled row of the most probable tokens, which are read back when any row asks for them. */
export const TOP_BYTES = MAX_TOP_LOG_PROBABILITIES * SAMPLED_BYTES;

/** One row to sample. */
export interface SampleRow {
  /** Row of the logits. Rows with adjustments or a mask have one of their own. */
  readonly headRow: number;
  /** Position of the token to be drawn: with the seed it decides the draw. */
  readonly position: number;
  readonly params: SamplingParams;
  /** `ADJUSTMENT_WORDS` per token whose logit is changed before the choice, each token once, ids below the vocabulary's size. */
  readonly adjustments?: Uint32Array<ArrayBuffer>;
  /** `maskWords` with a bit for each token that may be chosen; all where left out. Where no bit is set, the result means nothing. */
  readonly mask?: Uint32Array<ArrayBuffer>;
}

export interface SampledToken extends TokenLogProbability {
  /**
   * Under the unmodified softmax; NaN when the logits had a NaN or no finite largest one, or nothing was left to choose from, and the
   * token means nothing.
   */
  readonly logProbability: number;
  /** As many as the row asked for, but for tokens of no probability. */
  readonly topLogProbabilities: readonly TokenLogProbability[];
}

/** Words of a mask: a bit for each token. */
export function maskWords(vocabSize: number): number {
  return Math.ceil(vocabSize / 32);
}

/** Below this, and for NaN, sampling is greedy; as in sample_row.wgsl. */
const MIN_TEMPERATURE = Math.fround(1e-4);

export function isGreedy({ temperature }: SamplingParams): boolean {
  return !(Math.fround(temperature) >= MIN_TEMPERATURE);
}

/** The kernels' `sample_info`. */
export function encodeSampleRows(rows: readonly SampleRow[]): ArrayBuffer {
  const bytes = new ArrayBuffer(rows.length * SAMPLE_INFO_BYTES);
  const view = new DataView(bytes);
  let firstAdjustment = 0;
  let firstMaskWord = 0;
  rows.forEach(({ headRow, position, params, adjustments, mask }, index) => {
    const start = index * SAMPLE_INFO_BYTES;
    const adjustmentCount = (adjustments?.length ?? 0) / ADJUSTMENT_WORDS;
    view.setUint32(start, headRow, true);
    view.setFloat32(start + 4, params.temperature, true);
    view.setUint32(start + 8, params.topK, true);
    view.setFloat32(start + 12, params.topP, true);
    view.setFloat32(start + 16, params.minP, true);
    view.setUint32(start + 20, params.seed, true);
    view.setUint32(start + 24, position, true);
    view.setFloat32(start + 28, params.repetitionPenalty, true);
    view.setUint32(start + 32, firstAdjustment, true);
    view.setUint32(start + 36, adjustmentCount, true);
    view.setUint32(start + 40, params.topLogProbabilities, true);
    // Counted from 1: 0 is none.
    view.setUint32(start + 44, mask === undefined ? 0 : firstMaskWord + 1, true);
    firstAdjustment += adjustmentCount;
    firstMaskWord += mask?.length ?? 0;
  });
  return bytes;
}

/**
 * @param rows what was sampled.
 * @param sampled `SAMPLED_BYTES` per row.
 * @param top `TOP_BYTES` per row; empty where no row asks for log-probabilities.
 */
export function decodeSampled(
  rows: readonly SampleRow[],
  sampled = new ArrayBuffer(0),
  top = new ArrayBuffer(0),
): SampledToken[] {
  const tokens = new DataView(sampled);
  const tops = new DataView(top);
  return rows.map(({ params }, row) => ({
    ...readToken(tokens, row * SAMPLED_BYTES),
    topLogProbabilities: Array.from({ length: params.topLogProbabilities }, (_, rank) =>
      readToken(tops, row * TOP_BYTES + rank * SAMPLED_BYTES),
    ).filter(({ logProbability }) => logProbability > NO_PROBABILITY),
  }));
}

/** Kernels write minus infinity, and the place of a token that does not exist, as about −1e30; no softmax comes near. */
const NO_PROBABILITY = -1e29;

function readToken(view: DataView, offset: number): TokenLogProbability {
  return { tokenId: view.getUint32(offset, true), logProbability: view.getFloat32(offset + 4, true) };
}

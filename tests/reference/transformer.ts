import type { Architecture, Llama3RopeScaling } from '../../src/model/architecture.ts';

/**
 * The whole decoder in float64, one plain loop after the other, as the papers and the Hugging Face code state it. It shares no
 * code with the engine: where the two agree, the engine is right. Matrices are row-major; projections are `[out, in]`.
 */
export interface ReferenceWeights {
  readonly architecture: Architecture;
  /** [vocab, hidden] */
  readonly embedding: Float64Array;
  readonly layers: readonly ReferenceLayer[];
  /** [hidden] */
  readonly finalNorm: Float64Array;
  /** [vocab, hidden]; the embedding itself when tied. */
  readonly head: Float64Array;
  /** What becomes of rows [rows, in] before they are multiplied with a matrix; nothing by default. */
  readonly roundRows?: RoundRows;
}

export type RoundRows = (rows: Float64Array) => Float64Array;

function asTheyAre(rows: Float64Array): Float64Array {
  return rows;
}

export interface Projection {
  /** [out, in] */
  readonly weight: Float64Array;
  /** [out] */
  readonly bias: Float64Array | null;
}

export interface ReferenceLayer {
  readonly inputNorm: Float64Array;
  readonly query: Projection;
  readonly key: Projection;
  readonly value: Projection;
  /** [head dim], one for all heads. */
  readonly queryNorm: Float64Array | null;
  readonly keyNorm: Float64Array | null;
  readonly output: Projection;
  readonly postAttentionNorm: Float64Array;
  readonly gate: Projection;
  readonly up: Projection;
  readonly down: Projection;
}

export interface ReferenceResult {
  /** `[0]` the embedding, `[i]` the residual stream after layer i-1 (before the final norm); each [tokens, hidden]. */
  readonly hiddenByLayer: readonly Float64Array[];
  /** [tokens, vocab] */
  readonly logits: Float64Array;
}

/** One causal pass over `ids` at positions 0, 1, … . */
export function referenceForward(model: ReferenceWeights, ids: readonly number[]): ReferenceResult {
  const { hiddenSize, rmsNormEpsilon } = model.architecture;
  let hidden = embed(model.embedding, ids, hiddenSize);
  const hiddenByLayer = [hidden];
  const { slidingWindow } = model.architecture;
  const { roundRows = asTheyAre } = model;
  model.layers.forEach((layer, index) => {
    const isWindowed = slidingWindow?.layers.includes(index) === true;
    const windowTokens = isWindowed ? slidingWindow.tokens : Infinity;
    hidden = decoderLayer(model.architecture, layer, hidden, windowTokens, roundRows);
    hiddenByLayer.push(hidden);
  });
  const normed = rmsNorm(hidden, model.finalNorm, rmsNormEpsilon);
  return {
    hiddenByLayer,
    logits: project(roundRows(normed), { weight: model.head, bias: null }, hiddenSize),
  };
}

/** @returns [ids, hidden] */
export function embed(embedding: Float64Array, ids: readonly number[], hiddenSize: number): Float64Array {
  const rows = new Float64Array(ids.length * hiddenSize);
  ids.forEach((id, row) => {
    if (id < 0 || (id + 1) * hiddenSize > embedding.length)
      throw new RangeError(`Token ${id} is not in the vocabulary.`);
    rows.set(embedding.subarray(id * hiddenSize, (id + 1) * hiddenSize), row * hiddenSize);
  });
  return rows;
}

/**
 * Attention and feed-forward, each on the normalised input and added back.
 * @param hidden [tokens, hidden]
 * @param windowTokens how many of the latest tokens a token sees, itself among them.
 */
function decoderLayer(
  architecture: Architecture,
  layer: ReferenceLayer,
  hidden: Float64Array,
  windowTokens = Infinity,
  roundRows: RoundRows = asTheyAre,
): Float64Array {
  const { hiddenSize, intermediateSize, headDim, headCount, rmsNormEpsilon: epsilon } = architecture;
  const attentionInput = roundRows(rmsNorm(hidden, layer.inputNorm, epsilon));
  let queries = project(attentionInput, layer.query, hiddenSize);
  let keys = project(attentionInput, layer.key, hiddenSize);
  const values = project(attentionInput, layer.value, hiddenSize);
  if (layer.queryNorm) queries = rmsNorm(queries, layer.queryNorm, epsilon);
  if (layer.keyNorm) keys = rmsNorm(keys, layer.keyNorm, epsilon);
  const frequencies = rotaryFrequencies(architecture);
  rotate(queries, headDim, headCount, frequencies);
  rotate(keys, headDim, architecture.kvHeadCount, frequencies);
  const attended = causalAttention(architecture, queries, keys, values, windowTokens);
  const afterAttention = add(hidden, project(roundRows(attended), layer.output, headCount * headDim));

  const mlpInput = roundRows(rmsNorm(afterAttention, layer.postAttentionNorm, epsilon));
  const gate = project(mlpInput, layer.gate, hiddenSize);
  const up = project(mlpInput, layer.up, hiddenSize);
  const gated = gate.map((value, index) => silu(value) * at(up, index));
  return add(afterAttention, project(roundRows(gated), layer.down, intermediateSize));
}

/** Root-mean-square norm of every consecutive group of `weight.length` values. */
export function rmsNorm(input: Float64Array, weight: Float64Array, epsilon: number): Float64Array {
  const width = weight.length;
  const output = new Float64Array(input.length);
  for (let start = 0; start < input.length; start += width) {
    let sumOfSquares = 0;
    for (let i = 0; i < width; i++) sumOfSquares += at(input, start + i) ** 2;
    const scale = 1 / Math.sqrt(sumOfSquares / width + epsilon);
    for (let i = 0; i < width; i++) output[start + i] = at(input, start + i) * scale * at(weight, i);
  }
  return output;
}

/** Rows that share a read of the weights; each has its own sum, in the order of the elements. */
const ROWS_AT_ONCE = 4;

/** @param input [rows, inWidth] @returns [rows, out] */
export function project(input: Float64Array, { weight, bias }: Projection, inWidth: number): Float64Array {
  const rows = input.length / inWidth;
  const outWidth = weight.length / inWidth;
  const output = new Float64Array(rows * outWidth);
  for (let firstRow = 0; firstRow < rows; firstRow += ROWS_AT_ONCE) {
    const rowCount = Math.min(ROWS_AT_ONCE, rows - firstRow);
    // Rows beyond the last repeat it.
    const start = (row: number) => (firstRow + Math.min(row, rowCount - 1)) * inWidth;
    const [start0, start1, start2, start3] = [start(0), start(1), start(2), start(3)];
    for (let out = 0; out < outWidth; out++) {
      let sum0 = bias ? at(bias, out) : 0;
      let [sum1, sum2, sum3] = [sum0, sum0, sum0];
      for (let i = 0; i < inWidth; i++) {
        const factor = at(weight, out * inWidth + i);
        sum0 += at(input, start0 + i) * factor;
        sum1 += at(input, start1 + i) * factor;
        sum2 += at(input, start2 + i) * factor;
        sum3 += at(input, start3 + i) * factor;
      }
      const sums = [sum0, sum1, sum2, sum3];
      for (let row = 0; row < rowCount; row++) output[(firstRow + row) * outWidth + out] = sums[row] ?? NaN;
    }
  }
  return output;
}

/** Radians per position of each pair `(i, i + headDim / 2)`. @returns [head dim / 2] */
export function rotaryFrequencies(architecture: Architecture): Float64Array {
  const { headDim, ropeTheta, ropeScaling } = architecture;
  return Float64Array.from({ length: headDim / 2 }, (_, i) => {
    const frequency = ropeTheta ** ((-2 * i) / headDim);
    return ropeScaling ? stretchFrequency(frequency, ropeScaling) : frequency;
  });
}

/** Llama 3: long waves are slowed by `factor`, short ones kept, those between blended. */
function stretchFrequency(frequency: number, scaling: Llama3RopeScaling): number {
  const turnsInOriginalContext = (scaling.originalContextLength * frequency) / (2 * Math.PI);
  if (turnsInOriginalContext < scaling.lowFrequencyFactor) return frequency / scaling.factor;
  if (turnsInOriginalContext > scaling.highFrequencyFactor) return frequency;
  const kept =
    (turnsInOriginalContext - scaling.lowFrequencyFactor) /
    (scaling.highFrequencyFactor - scaling.lowFrequencyFactor);
  return kept * frequency + ((1 - kept) * frequency) / scaling.factor;
}

/** Rotates in place. @param heads [tokens, heads, head dim]; the row is the position. */
export function rotate(
  heads: Float64Array,
  headDim: number,
  headCount: number,
  frequencies: Float64Array,
): void {
  const half = headDim / 2;
  for (let start = 0; start < heads.length; start += headDim) {
    const position = Math.floor(start / (headDim * headCount));
    for (let i = 0; i < half; i++) {
      const angle = position * at(frequencies, i);
      const first = at(heads, start + i);
      const second = at(heads, start + half + i);
      heads[start + i] = first * Math.cos(angle) - second * Math.sin(angle);
      heads[start + half + i] = second * Math.cos(angle) + first * Math.sin(angle);
    }
  }
}

/**
 * Every query head attends to the tokens up to its own, or the latest of them, through the key-value head of its group.
 * @param queries [tokens, heads, head dim] @param keys, values [tokens, kv heads, head dim] @returns like `queries`
 */
export function causalAttention(
  { headCount, kvHeadCount, headDim }: Architecture,
  queries: Float64Array,
  keys: Float64Array,
  values: Float64Array,
  windowTokens = Infinity,
): Float64Array {
  const tokens = queries.length / (headCount * headDim);
  const output = new Float64Array(queries.length);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < headCount; head++) {
      const query = (token * headCount + head) * headDim;
      const kvHead = Math.floor((head * kvHeadCount) / headCount);
      const scores = Float64Array.from({ length: token + 1 }, (_, past) => {
        const key = (past * kvHeadCount + kvHead) * headDim;
        let dot = 0;
        for (let i = 0; i < headDim; i++) dot += at(queries, query + i) * at(keys, key + i);
        return past > token - windowTokens ? dot / Math.sqrt(headDim) : -Infinity;
      });
      softmax(scores).forEach((weight, past) => {
        const value = (past * kvHeadCount + kvHead) * headDim;
        for (let i = 0; i < headDim; i++) {
          output[query + i] = at(output, query + i) + weight * at(values, value + i);
        }
      });
    }
  }
  return output;
}

export function softmax(scores: Float64Array): Float64Array {
  const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const exponentials = scores.map((score) => Math.exp(score - largest));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((value) => value / sum);
}

export function silu(value: number): number {
  return value / (1 + Math.exp(-value));
}

function add(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, index) => value + at(b, index));
}

/** Reads an element that must exist, so that a wrong size fails instead of spreading NaN. */
function at(values: Float64Array, index: number): number {
  const value = values[index];
  if (value === undefined) throw new RangeError(`Index ${index} is outside an array of ${values.length}.`);
  return value;
}

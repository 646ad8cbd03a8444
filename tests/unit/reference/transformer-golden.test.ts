import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { openCheckpoint } from '../../../src/model/open-checkpoint.ts';
import { loadReferenceWeights } from '../../reference/load-weights.ts';
import { relativeError } from '../../reference/relative-error.ts';
import { referenceForward } from '../../reference/transformer.ts';
import type { Golden } from '../../golden/golden-file.ts';
import type { ReferenceResult, ReferenceWeights } from '../../reference/transformer.ts';

const FOLDER = 'public/models/skein-tiny';
/** golden.json rounds to six decimals, and its smallest vectors are of length ≈ 1. */
const ROUNDED_TOLERANCE = 1e-5;

const golden = JSON.parse(await readFile(`${FOLDER}/golden.json`, 'utf8')) as Golden;

describe('the reference transformer on skein-tiny', () => {
  let weights: ReferenceWeights;
  let probe: ReferenceResult;

  beforeAll(async () => {
    weights = await loadReferenceWeights(await openCheckpoint(new FolderSource(FOLDER)));
    probe = referenceForward(weights, golden.probe.ids);
  }, 60_000);

  it('gives the hidden states of every layer', () => {
    const errors = probe.hiddenByLayer.map((hidden, layer) =>
      relativeError(
        lastRow(hidden, weights.architecture.hiddenSize),
        golden.probe.hidden_last_by_layer[layer] ?? [],
      ),
    );
    expect(errors).toHaveLength(golden.probe.hidden_last_by_layer.length);
    expect(Math.max(...errors)).toBeLessThan(ROUNDED_TOLERANCE);
  });

  it('gives the logits of the last position', () => {
    const logits = lastRow(probe.logits, weights.architecture.vocabSize);
    expect(relativeError(logits, golden.probe.logits_last)).toBeLessThan(ROUNDED_TOLERANCE);
  });

  it('gives the log-probability of every token', () => {
    const { vocabSize } = weights.architecture;
    const logProbabilities = golden.probe.ids.slice(1).map((id, row) => {
      const logits = probe.logits.subarray(row * vocabSize, (row + 1) * vocabSize);
      const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
      return (logits[id] ?? NaN) - Math.log(sum);
    });
    expect(relativeError(Float64Array.from(logProbabilities), golden.probe.token_logprobs)).toBeLessThan(
      ROUNDED_TOLERANCE,
    );
  });

  // One pass over prompt and answer: if every token is the best after those before it, greedy decoding takes the same way.
  it.each(golden.cases.slice(1, 4))('continues "$user" greedily', ({ prompt_ids, greedy_ids }) => {
    const { vocabSize } = weights.architecture;
    const { logits } = referenceForward(weights, [...prompt_ids, ...greedy_ids.slice(0, -1)]);
    const chosen = greedy_ids.map((_, step) => {
      const row = prompt_ids.length - 1 + step;
      return indexOfLargest(logits.subarray(row * vocabSize, (row + 1) * vocabSize));
    });
    expect(chosen).toEqual(greedy_ids);
  });
});

function lastRow(rows: Float64Array, width: number): Float64Array {
  return rows.subarray(rows.length - width);
}

function indexOfLargest(values: Float64Array): number {
  return values.reduce((best, value, index) => (value > (values[best] ?? -Infinity) ? index : best), 0);
}

/** ‖actual − expected‖₂ / ‖expected‖₂ */

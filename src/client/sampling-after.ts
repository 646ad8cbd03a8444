import { hasPenalties } from '../protocol/sampling.ts';
import type { SamplingParams } from '../protocol/sampling.ts';
import { MAX_HISTORY_TOKENS } from '../protocol/limits.ts';
import type { OpenRequest } from '../protocol/stage.ts';

/**
 * How a route samples that goes on with an answer: as if it had begun it. Penalties count the tokens so far, and the least length is
 * what is missing of it.
 */
export function samplingAfter(
  sampling: SamplingParams,
  promptIds: readonly number[],
  tokenIds: readonly number[],
): Pick<OpenRequest, 'sampling' | 'history'> {
  return {
    sampling: { ...sampling, minTokens: Math.max(0, sampling.minTokens - tokenIds.length) },
    history: {
      prompt: sampling.repetitionPenalty === 1 ? [] : latest(promptIds).map(([tokenId]) => tokenId),
      generated: hasPenalties(sampling) ? latest(tokenIds) : [],
    },
  };
}

/** The distinct tokens that were said last, as far as a request has room, and how often each was said. */
function latest(tokenIds: readonly number[]): [tokenId: number, count: number][] {
  const counts = new Map<number, number>();
  for (const tokenId of tokenIds) {
    const count = counts.get(tokenId) ?? 0;
    counts.delete(tokenId);
    counts.set(tokenId, count + 1);
  }
  return [...counts].slice(-MAX_HISTORY_TOKENS);
}

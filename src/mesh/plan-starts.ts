import type { StageOffer } from '../protocol/frames.ts';
import { BLOCK_TOKENS, mostCachedTokens } from '../protocol/stage.ts';

/**
 * From which position each hop computes, so that every hop has all rows before its own start and is sent all rows from there on.
 * A hop that starts behind the next one's start sends the rows between from its journal; one that cannot begins there itself.
 * @param offers what the hops have, in order of the route.
 * @param promptTokens rows to be computed in all. The last one is computed in any case: a token is sampled from it.
 * @returns one start per hop, each a multiple of BLOCK_TOKENS; the requester sends its rows from the first on.
 */
export function planStarts(offers: readonly StageOffer[], promptTokens: number): number[] {
  const latestStart = mostCachedTokens(promptTokens);
  const starts: number[] = [];
  let nextStart: number | null = null;
  for (const { cachedTokens, journalFrom } of offers.toReversed()) {
    const ownLatest = Math.min(cachedTokens, latestStart);
    const hasJournal: boolean = nextStart === null || journalFrom <= nextStart;
    const start: number = nextStart === null || hasJournal ? ownLatest : Math.min(ownLatest, nextStart);
    starts.unshift(start);
    nextStart = start;
  }
  return starts;
}

/** Why no honest hop offers this; null where one may. */
export function offerProblem({ cachedTokens }: StageOffer, promptTokens: number): string | null {
  if (cachedTokens % BLOCK_TOKENS !== 0) return `${cachedTokens} cached tokens, which are no whole blocks`;
  if (cachedTokens > mostCachedTokens(promptTokens)) {
    return `${cachedTokens} cached tokens of a prompt of ${promptTokens}`;
  }
  return null;
}

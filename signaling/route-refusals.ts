import { SkeinError } from '../src/protocol/errors.ts';
import type { ModelId } from '../src/protocol/ids.ts';
import type { ModelCard } from '../src/protocol/signaling.ts';
import { maxSequenceTokens } from '../src/protocol/slice-bytes.ts';
import { BUSY_RETRY_SECONDS } from './limits.ts';
import type { RouteRequest } from './route-queue.ts';

/**
 * Stages would refuse it, and until then it would hold room that others could use.
 * @throws SkeinError `bad-argument` for more tokens than stages hold for one request.
 */
export function checkTokens({ model, tokens }: RouteRequest, card: ModelCard): void {
  const mostTokens = maxSequenceTokens(card);
  if (tokens <= mostTokens) return;
  throw new SkeinError(
    'bad-argument',
    `A request of ${tokens} tokens is over the limit of ${mostTokens} that stages of ${model} hold for one. Shorten the prompt, or ask for fewer tokens.`,
    { data: { tokens, mostTokens } },
  );
}

/** For a request that would begin on a model that is being removed, or that had no end when it was. */
export function beingRemoved(model: ModelId): SkeinError {
  return new SkeinError('model-missing', `${model} is being removed from this mesh. Choose another model.`, {
    data: { model },
  });
}

/** For a request that waited until its requester's time was over. */
export function overTime({ model, timeLimitMs }: RouteRequest): SkeinError {
  return new SkeinError(
    'timeout',
    `${model} had no room within the ${timeLimitMs / 1000} s of the request. Allow more time, or ask again later.`,
    { data: { model, timeLimitMs } },
  );
}

/**
 * @param what is too much, as half a sentence.
 * @param queuePosition which the request would have had; 1 is next.
 */
export function tooMany(model: ModelId, what: string, queuePosition: number): SkeinError {
  return new SkeinError('busy', `${model} has no room: ${what}. Ask again in ${BUSY_RETRY_SECONDS} s.`, {
    data: { model, retryAfterSeconds: BUSY_RETRY_SECONDS, queuePosition },
  });
}

import { SkeinError } from '../protocol/errors.ts';
import type { RequestId } from '../protocol/ids.ts';
import type { OpenRequest, StageInput } from '../protocol/stage.ts';
import { BLOCK_TOKENS } from './batch.ts';
import type { Slice } from './batch.ts';

/** @throws SkeinError `bad-argument` for a request that this stage could not hold if it were the only one. */
export function checkFits(
  { promptTokens, maxTokens }: OpenRequest,
  { contextLength, blockCount }: Slice,
): void {
  const tokens = promptTokens + maxTokens;
  const limit = Math.min(contextLength, blockCount * BLOCK_TOKENS);
  if (tokens <= limit) return;
  throw new SkeinError(
    'bad-argument',
    `A prompt of ${promptTokens} and an answer of ${maxTokens} tokens are more than the ${limit} this stage holds. Shorten the conversation or ask for fewer tokens.`,
    { data: { tokens, limit } },
  );
}

/**
 * Held here, a wrong input fails one request; in a batch it would fail everyone's.
 * @throws SkeinError `bad-frame` for what the slice does not take.
 */
export function checkInput(input: StageInput, { hasEmbedding, vocabSize, hiddenSize }: Slice): void {
  const wanted = hasEmbedding ? 'tokens' : 'activations';
  if (input.kind !== wanted) {
    throw new SkeinError('bad-frame', `This stage takes ${wanted}, and ${input.kind} came.`);
  }
  if (input.kind === 'tokens') {
    const unknown = input.tokenIds.find((tokenId) => tokenId >= vocabSize);
    if (unknown !== undefined) {
      throw new SkeinError('bad-frame', `Token ${unknown} came and the vocabulary has ${vocabSize}.`);
    }
  } else if (input.values.length !== input.rows * hiddenSize) {
    throw new SkeinError(
      'bad-frame',
      `${input.values.length} values are not ${input.rows} rows of ${hiddenSize}.`,
    );
  }
}

export function openLimitError(open: number, limit: number): SkeinError {
  return new SkeinError(
    'busy',
    `This stage has ${open} requests open, and takes no more. Try again when another ends.`,
    { data: { open, limit } },
  );
}

export function logLimitError(logBytes: number, limit: number): SkeinError {
  return new SkeinError(
    'busy',
    `The inputs of open requests take ${logBytes} bytes of this stage's memory, and ${limit} are what it gives. Try again when another ends.`,
    { data: { logBytes, limit } },
  );
}

export function pinnedBlocksError(requestId: RequestId): SkeinError {
  return new SkeinError(
    'busy',
    `An older request needs the cache blocks that request ${requestId} began with. Try again when another ends.`,
  );
}

export function timeLimitError({ route, timeLimitMs }: OpenRequest): SkeinError {
  return new SkeinError(
    'timeout',
    `Request ${route.requestId} took longer than its limit of ${timeLimitMs / 1000} s and was ended. Ask with a longer limit, or for fewer tokens.`,
    { data: { timeLimitMs } },
  );
}

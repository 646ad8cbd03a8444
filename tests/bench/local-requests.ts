import type { LocalMesh } from '../../src/contributor/local-mesh.ts';
import { routeTokens } from '../fixtures/route-tokens.ts';
import { BlockHashChain } from '../../src/protocol/block-hashes.ts';
import { newRequestId } from '../../src/protocol/ids.ts';
import { GREEDY, NO_HISTORY } from '../../src/protocol/sampling.ts';
import type { FrameTransport } from '../../src/protocol/transport.ts';
import { EPOCH_KEYS } from '../fixtures/epoch-keys.ts';

const TIME_LIMIT_MS = 600_000;

export interface BenchRequest {
  readonly prompt: readonly number[];
  /** The answer has exactly so many tokens: no token stops it. */
  readonly answerTokens: number;
}

export interface BenchAnswer {
  readonly tokenIds: readonly number[];
  /** Prompt tokens that were in the caches of all stages. */
  readonly cachedTokens: number;
  readonly startMs: number;
  readonly firstTokenMs: number;
  readonly endMs: number;
}

/** One answer over the stages of a mesh, without a tokenizer. @param requester from `mesh.newRequester`, for empty caches. */
export async function answer(
  mesh: LocalMesh,
  requester: FrameTransport,
  { prompt, answerTokens }: BenchRequest,
): Promise<BenchAnswer> {
  const startMs = performance.now();
  const route = await mesh.requestRoute({ model: mesh.model, requestId: newRequestId(), epoch: 0 });
  const blockHashes = new BlockHashChain(mesh.model);
  blockHashes.append(prompt);
  let cachedTokens = 0;
  let firstTokenMs = 0;
  const tokenIds: number[] = [];
  const tokens = routeTokens({
    transport: requester,
    request: {
      route,
      requester: requester.self,
      promptTokens: prompt.length,
      maxTokens: answerTokens,
      timeLimitMs: TIME_LIMIT_MS,
      stopTokenIds: [],
      sampling: GREEDY,
      history: NO_HISTORY,
      constraint: null,
      keepsCache: true,
      epochKey: EPOCH_KEYS.at(0),
    },
    promptTokenIds: Uint32Array.from(prompt),
    blockHashes,
    onOpened: (cached) => (cachedTokens = cached),
    signal: new AbortController().signal,
  });
  for await (const { tokenId } of tokens) {
    if (tokenIds.length === 0) firstTokenMs = performance.now();
    tokenIds.push(tokenId);
  }
  return { tokenIds, cachedTokens, startMs, firstTokenMs, endMs: performance.now() };
}

/** Token ids without a meaning, the same for the same seed. */
export function randomPrompt(length: number, vocabSize: number, seed: number): number[] {
  let state = seed + 1;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocabSize);
  });
}

import { generate } from '../../src/client/generate.ts';
import type { GenerateEvent, Prompt } from '../../src/client/generate.ts';
import type { LocalMesh } from '../../src/contributor/local-mesh.ts';
import { systemClock } from '../../src/protocol/clock.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import { GREEDY } from '../../src/protocol/sampling.ts';
import type { SamplingParams } from '../../src/protocol/sampling.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';

/** Every token a local mesh answers with. Throws when the generation fails, or ends without a result. */
export async function answerTokens(
  mesh: LocalMesh,
  tokenizer: Tokenizer,
  prompt: Prompt,
  maxTokens: number,
  sampling: SamplingParams = GREEDY,
): Promise<readonly number[]> {
  const events = await answerEvents(mesh, tokenizer, prompt, maxTokens, sampling);
  return events.map(({ tokenId }) => tokenId);
}

export type TokenEvent = Extract<GenerateEvent, { type: 'token' }>;

/** @see answerTokens, with what is told of each token. */
export async function answerEvents(
  mesh: LocalMesh,
  tokenizer: Tokenizer,
  prompt: Prompt,
  maxTokens: number,
  sampling: SamplingParams,
): Promise<readonly TokenEvent[]> {
  const tokens: TokenEvent[] = [];
  const events = generate(
    { model: mesh.model, prompt, maxTokens, sampling },
    {
      transport: mesh.transport,
      tokenizer,
      requestRoute: (query) => mesh.requestRoute(query),
      endRoute: () => undefined,
      now: () => performance.now(),
      sleep,
    },
  );
  for await (const event of events) {
    if (event.type === 'waiting') throw event.error;
    if (event.type === 'token') tokens.push(event);
    if (event.type === 'done') return tokens;
  }
  throw new Error('the generation ended without a result');
}

/** In browsers and in Node. Rejects on abort, which leaves no timer behind. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancel = systemClock.after(ms, resolve);
    signal.addEventListener('abort', () => {
      cancel();
      reject(SkeinError.from(signal.reason, 'aborted'));
    });
  });
}

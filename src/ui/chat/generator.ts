import { generate } from '../../client/generate.ts';
import { untilAborted } from '../../model/abort.ts';
import { HttpSource } from '../../model/http-source.ts';
import { SkeinError } from '../../protocol/errors.ts';
import type { ModelCard } from '../../protocol/signaling.ts';
import { maxSequenceTokens } from '../../protocol/slice-bytes.ts';
import { Tokenizer } from '../../tokenizer/tokenizer.ts';
import { pause } from '../../contributor/pause.ts';
import type { PageSession } from '../connection/page-session.ts';
import type { Generator } from './chat-controller.ts';

/** Tokenizers by model folder; a failed load is forgotten, so that a retry loads again. */
const tokenizers = new Map<string, Promise<Tokenizer>>();

/** Generates over the mesh of one session, with the tokenizer of the model in this page. */
export function generatorFor({ self, models, signaling, transport }: PageSession): Generator {
  return {
    self,
    async *generate(request, signal) {
      const card = models.find(({ id }) => id === request.model);
      if (card === undefined) {
        throw new SkeinError(
          'model-missing',
          `The server does not offer ${request.model}. Choose another model.`,
        );
      }
      yield* generate(
        { ...request, contextTokens: maxSequenceTokens(card) },
        {
          transport,
          tokenizer: await untilAborted(tokenizerFor(card), signal),
          requestRoute: (query, routeSignal, onQueued) =>
            signaling.requestRoute(query, routeSignal, onQueued),
          endRoute: (requestId, outcome) => signaling.endRoute(requestId, outcome),
          now: () => performance.now(),
          sleep: async (ms, sleepSignal) => {
            await pause(ms, sleepSignal);
            sleepSignal.throwIfAborted();
          },
        },
        signal,
      );
    },
  };
}

function tokenizerFor({ url }: ModelCard): Promise<Tokenizer> {
  const folder = new URL(url, location.href).href;
  const known = tokenizers.get(folder);
  if (known !== undefined) return known;
  const loading = Tokenizer.load(new HttpSource(folder));
  tokenizers.set(folder, loading);
  loading.catch(() => tokenizers.delete(folder));
  return loading;
}

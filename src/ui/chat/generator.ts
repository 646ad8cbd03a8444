import { generate } from '../../client/generate.ts';
import { generateDeps } from '../../client/generate-deps.ts';
import { sessionOf } from '../../mesh/mesh-connection.ts';
import type { MeshConnection } from '../../mesh/mesh-connection.ts';
import { untilAborted } from '../../model/abort.ts';
import { HttpSource } from '../../model/http-source.ts';
import { SkeinError } from '../../protocol/errors.ts';
import type { ModelCard } from '../../protocol/signaling.ts';
import { maxSequenceTokens } from '../../protocol/slice-bytes.ts';
import { Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { PageSession } from '../connection/page-session.ts';
import type { Generator } from './chat-controller.ts';

/** Tokenizers by model folder; a failed load is forgotten, so that a retry loads again. */
const tokenizers = new Map<string, Promise<Tokenizer>>();

/**
 * Generates over this page's sessions on the mesh, with the tokenizer of the model in this page. An answer goes on over the
 * next session where the one it began with ends.
 * @returns null where there is none to begin with.
 */
export function generatorFor(connection: MeshConnection<PageSession>): Generator | null {
  const first = sessionOf(connection.state);
  if (first === null) return null;
  const current = () => connection.latestSession ?? first;
  return {
    get self() {
      return current().self;
    },
    async *generate(request, signal) {
      const card = current().models.find(({ id }) => id === request.model);
      if (card === undefined) {
        throw new SkeinError(
          'model-missing',
          `The server does not offer ${request.model}. Choose another model.`,
        );
      }
      const tokenizer = await untilAborted(tokenizerFor(card), signal);
      yield* generate(
        { ...request, contextTokens: maxSequenceTokens(card) },
        generateDeps({ current, tokenizer }),
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

import * as v from 'valibot';
import { SkeinError } from '../../protocol/errors.ts';
import { MAX_SEQUENCE_TOKENS } from '../../protocol/limits.ts';
import type { ModelId } from '../../protocol/ids.ts';
import type { ModelCard } from '../../protocol/signaling.ts';
import type { Prompt } from '../generation.ts';
import { checkBody, ignored, optional } from './request-body.ts';
import { oneOf, wholeNumber } from './sampling-fields.ts';

/** What OpenAI's API has. */
const MAX_INPUTS = 2048;
const MAX_DIMENSIONS = 65_536;

const someText = v.pipe(v.string(), v.minLength(1, 'is empty. Send a text.'));
const tokenId = wholeNumber(0, 0xffff_ffff);
const someIds = v.pipe(
  v.array(tokenId),
  v.minLength(1, 'is empty. Send token ids.'),
  v.maxLength(MAX_SEQUENCE_TOKENS, `takes at most ${MAX_SEQUENCE_TOKENS} tokens`),
);
const TOO_MANY_INPUTS = `takes at most ${MAX_INPUTS} inputs`;
const someTexts = v.pipe(
  v.array(someText),
  v.minLength(1, 'is empty. Send a text.'),
  v.maxLength(MAX_INPUTS, TOO_MANY_INPUTS),
);
const listsOfIds = v.pipe(v.array(someIds), v.maxLength(MAX_INPUTS, TOO_MANY_INPUTS));

/** One text, or several, or their token ids: what the first of them is, all are. */
const input = v.lazy((given): v.GenericSchema<unknown, string | readonly (string | number | number[])[]> => {
  if (!Array.isArray(given)) return v.union([someText, v.array(v.never())]);
  const first: unknown = given[0];
  if (typeof first === 'number') return someIds;
  return Array.isArray(first) ? listsOfIds : someTexts;
});

/** The body of `/v1/embeddings`. */
export const embeddingsSchema = v.strictObject({
  model: v.string(),
  input,
  encoding_format: optional(oneOf('float', 'base64')),
  dimensions: optional(wholeNumber(1, MAX_DIMENSIONS)),
  user: ignored(v.string()),
});

/** Texts of which vectors are asked. */
export interface EmbeddingsQuestion {
  readonly model: ModelId;
  readonly prompts: readonly Prompt[];
  readonly encodingFormat: 'float' | 'base64';
  /** Null for as many as the model has. */
  readonly dimensions: number | null;
}

/** @throws SkeinError `bad-argument`; `data.param` names the parameter. */
export function parseEmbeddingsRequest(json: unknown): EmbeddingsQuestion {
  const body = checkBody(embeddingsSchema, json);
  return {
    model: body.model as ModelId,
    prompts: promptsOf(body.input),
    encodingFormat: body.encoding_format ?? 'float',
    dimensions: body.dimensions ?? null,
  };
}

/**
 * Why a model gives no vectors. Those of a model that was trained to go on with a text look like an embedding's, and mean nothing;
 * and those of one that was trained for it are made of hidden states that stages keep to themselves.
 */
export function noEmbeddings({ id }: Pick<ModelCard, 'id'>): SkeinError {
  return new SkeinError(
    'model-unsupported',
    `${id} is served to write text, and gives no embeddings: its vectors would be wrong. Ask a service with an embedding model.`,
    { data: { param: 'model', model: id } },
  );
}

function promptsOf(given: v.InferOutput<typeof input>): Prompt[] {
  if (typeof given === 'string') return [{ kind: 'text', text: given }];
  const ids = given.filter((item) => typeof item === 'number');
  if (ids.length > 0) return [{ kind: 'ids', ids }];
  return given.flatMap((item): Prompt[] => {
    if (typeof item === 'string') return [{ kind: 'text', text: item }];
    return Array.isArray(item) ? [{ kind: 'ids', ids: item }] : [];
  });
}

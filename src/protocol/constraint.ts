import * as v from 'valibot';
import { SkeinError } from './errors.ts';
import { MAX_CONSTRAINT_CHARACTERS, MAX_HISTORY_TOKENS } from './limits.ts';

const tokenId = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));

/** What an answer has to keep to: the last stage samples only tokens with which it still can. */
export const constraintSchema = v.object({
  /** A structural tag of xgrammar as JSON text: JSON schemas, regular expressions, grammars, and tags that begin them. */
  structuralTag: v.pipe(v.string(), v.minLength(1), v.maxLength(MAX_CONSTRAINT_CHARACTERS)),
  /** What earlier routes sampled, in order. The next token has to keep to the constraint after them. */
  answer: v.pipe(v.array(tokenId), v.maxLength(MAX_HISTORY_TOKENS)),
});
export type RequestConstraint = v.InferOutput<typeof constraintSchema>;

const FIELD = 'constraint';

/** Says that the constraint itself is at fault, so that no other route could help. */
export function constraintError(message: string): SkeinError {
  return new SkeinError('bad-argument', message, { data: { field: FIELD } });
}

export function isConstraintError({ code, data }: SkeinError): boolean {
  return code === 'bad-argument' && data['field'] === FIELD;
}

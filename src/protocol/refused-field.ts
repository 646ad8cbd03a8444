import * as v from 'valibot';

/** Whoever sends garbage is not to fill logs, or answers, with it: the words of a refusal repeat this much of it at most. */
const MAX_FIELD_CHARACTERS = 200;
const MAX_REASON_CHARACTERS = 300;

/** Which field of something from outside is wrong, and why, in a few words. */
export interface RefusedField {
  /** Its path, with dots; empty for the whole. */
  readonly field: string;
  readonly reason: string;
}

/** @param issues of a failed parse; the first one counts. */
export function refusedField(
  issues: readonly [v.BaseIssue<unknown>, ...v.BaseIssue<unknown>[]],
): RefusedField {
  const [issue] = issues;
  const field = (v.getDotPath(issue) ?? '').slice(0, MAX_FIELD_CHARACTERS);
  return { field, reason: issue.message.slice(0, MAX_REASON_CHARACTERS) };
}

import { SkeinError } from '../../protocol/errors.ts';

/** The events of an answer ended before its last one. */
export function unfinished(): SkeinError {
  return new SkeinError('internal', 'The events of an answer ended before the answer did. Report this.');
}

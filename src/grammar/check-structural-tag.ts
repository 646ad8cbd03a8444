import { constraintError } from '../protocol/constraint.ts';
import { MAX_CONSTRAINT_CHARACTERS } from '../protocol/limits.ts';
import { GrammarHost } from './grammar-host.ts';

let host: GrammarHost | null = null;

/**
 * Whether stages can constrain an answer by this structural tag, in what every model has in common. Its worker is started by the
 * first call, and does not keep a process alive.
 * @throws SkeinError `bad-argument` with xgrammar's reason; `busy` where too many are checked at once.
 */
export async function checkStructuralTag(text: string): Promise<void> {
  if (text.length === 0 || text.length > MAX_CONSTRAINT_CHARACTERS) {
    throw constraintError(
      `The constraint has ${text.length} characters; it may have 1 to ${MAX_CONSTRAINT_CHARACTERS}.`,
    );
  }
  host ??= new GrammarHost({ vocabulary: null });
  await host.check(text);
}

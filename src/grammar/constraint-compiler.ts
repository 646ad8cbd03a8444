import type { ConstraintCompiler } from '../engine/answer-constraint.ts';
import type { FileSource } from '../model/file-source.ts';
import { SkeinError } from '../protocol/errors.ts';
import { Tokenizer } from '../tokenizer/tokenizer.ts';
import { GrammarHost } from './grammar-host.ts';
import { vocabularyOf } from './vocabulary.ts';

/** What makes constraints for the answers of one model. */
export interface Constraints {
  readonly compile: ConstraintCompiler;
  /** Idempotent. */
  dispose(): void;
}

/**
 * Reads the model's tokenizer and starts the worker of grammars when the first constraint comes, and not before.
 * @param vocabSize logits that the model has.
 */
export function constraintsOf(source: FileSource, vocabSize: number): Constraints {
  const over = new AbortController();
  let opening: Promise<GrammarHost> | null = null;
  const open = async (): Promise<GrammarHost> => {
    try {
      const tokenizer = await Tokenizer.load(source, over.signal);
      over.signal.throwIfAborted();
      const host = new GrammarHost({ vocabulary: vocabularyOf(tokenizer, vocabSize) });
      over.signal.addEventListener('abort', () => host.dispose());
      return host;
    } catch (thrown) {
      // What could not be read may be there the next time.
      opening = null;
      throw SkeinError.from(thrown);
    }
  };
  return {
    compile: async (question) => {
      opening ??= open();
      return (await opening).open(question);
    },
    dispose: () => over.abort(new SkeinError('aborted', 'The stage was freed.')),
  };
}

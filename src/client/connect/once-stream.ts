import { SkeinError } from '../../protocol/errors.ts';
import type { AnswerStream } from './types.ts';
import { errorOf } from './work.ts';
import type { WorkUnderWay } from './work.ts';

/** What a stream is made of. */
export interface StreamWork<Chunk> extends WorkUnderWay {
  readonly chunks: AsyncGenerator<Chunk, void, void>;
}

/** Begins its work when somebody reads. */
export class OnceStream<Chunk> implements AnswerStream<Chunk> {
  readonly #begin: () => StreamWork<Chunk>;
  #isTaken = false;

  constructor(begin: () => StreamWork<Chunk>) {
    this.#begin = begin;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Chunk> {
    if (this.#isTaken) {
      throw new SkeinError('bad-argument', 'This answer was read already. Keep its chunks, or ask again.');
    }
    this.#isTaken = true;
    return iterate(this.#begin());
  }
}

function iterate<Chunk>({ chunks, ending, abort, done }: StreamWork<Chunk>): AsyncIterableIterator<Chunk> {
  let isOver = false;
  // Whoever does not ask for more holds stages up as well as whoever does.
  const stop = () => void chunks.return().then(done, done);
  const finish = () => {
    isOver = true;
    ending.removeEventListener('abort', stop);
    done();
  };
  ending.addEventListener('abort', stop);
  return {
    async next() {
      if (isOver) return { done: true, value: undefined };
      try {
        const result = await chunks.next();
        if (result.done !== true) return result;
        ending.throwIfAborted();
      } catch (thrown) {
        finish();
        throw errorOf(thrown, ending);
      }
      finish();
      return { done: true, value: undefined };
    },
    async return() {
      if (!isOver) {
        ending.removeEventListener('abort', stop);
        // A generator that waits for a token would otherwise return only after it.
        abort();
        // Whoever returns wants to hear no more, also not of how the work ended.
        await chunks.return().catch(() => undefined);
        finish();
      }
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

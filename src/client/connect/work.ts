import { pause } from '../../mesh/pause.ts';
import { SkeinError } from '../../protocol/errors.ts';

/** Something that is done for a caller. */
export interface WorkUnderWay {
  /** Says when it is to end. */
  readonly ending: AbortSignal;
  readonly abort: () => void;
  /** It has ended. Idempotent. */
  readonly done: () => void;
}

/** How long closing waits for what says goodbye to stages. */
const GOODBYE_MS = 1_000;

/** All that is done for the callers of a client, so that it ends with the client. */
export class Work {
  readonly #underWay = new Set<AbortController>();
  #closing: Promise<void> | null = null;
  #allDone: () => void = () => undefined;

  /** @param ends a caller's own. @throws SkeinError `aborted` after `close`. */
  begin(ends: readonly (AbortSignal | undefined)[]): WorkUnderWay {
    if (this.#closing) throw closedError();
    const own = new AbortController();
    this.#underWay.add(own);
    return {
      ending: AbortSignal.any([own.signal, ...ends.filter((end) => end !== undefined)]),
      abort: () => own.abort(),
      done: () => {
        this.#underWay.delete(own);
        if (this.#underWay.size === 0) this.#allDone();
      },
    };
  }

  /** Does something that ends with `signal` or the client. @throws SkeinError `aborted`, `timeout`, or what went wrong. */
  async during<T>(signal: AbortSignal | undefined, work: (ending: AbortSignal) => Promise<T>): Promise<T> {
    const { ending, done } = this.begin([signal]);
    try {
      return await work(ending);
    } catch (thrown) {
      throw errorOf(thrown, ending);
    } finally {
      done();
    }
  }

  /** Ends what is under way, and takes nothing more. Resolves when it has ended, or after a moment. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    if (this.#underWay.size === 0) return;
    const over = new AbortController();
    this.#allDone = () => over.abort();
    for (const own of this.#underWay) own.abort(closedError());
    await pause(GOODBYE_MS, over.signal);
  }
}

/** What a caller is told of work that failed, or was ended. */
export function errorOf(thrown: unknown, ending: AbortSignal): SkeinError {
  if (!ending.aborted) return SkeinError.from(thrown);
  const reason: unknown = ending.reason;
  if (reason instanceof SkeinError) return reason;
  if (reason instanceof Error && reason.name === 'TimeoutError') {
    return new SkeinError('timeout', 'The time that the signal of the call gave has passed.', {
      cause: reason,
    });
  }
  return new SkeinError('aborted', 'The call was stopped by its signal.', { cause: reason });
}

function closedError(): SkeinError {
  return new SkeinError('aborted', 'The client is closed. Connect again.');
}

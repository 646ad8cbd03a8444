import type { AnswerConstraint, ConstraintQuestion } from '../engine/answer-constraint.ts';
import { systemClock } from '../protocol/clock.ts';
import type { Clock } from '../protocol/clock.ts';
import { constraintError } from '../protocol/constraint.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { GrammarAnswer, GrammarCommand, Vocabulary } from './grammar-messages.ts';
import { startGrammarPort } from './grammar-port.ts';
import type { GrammarPort } from './grammar-port.ts';

/** One grammar is compiled, or a batch of masks made, in this time: a hundred times what a usual one takes. */
const ANSWER_DEADLINE_MS = 5_000;
/** A worker loads a megabyte of WebAssembly, and in Node a compiler of TypeScript, when it starts. */
const START_DEADLINE_MS = 30_000;
/** Grammars that wait to be compiled: as many as a stage has requests open. */
const MAX_WAITING = 256;
/** Structural tags that were refused, with the reasons: each of them costs a worker. */
const MAX_REFUSED = 64;

export interface GrammarHostOptions {
  /** Null where nothing is compiled, only checked. */
  readonly vocabulary: Vocabulary | null;
  readonly startPort?: () => GrammarPort;
  readonly clock?: Clock;
}

type AskingCommand = Extract<GrammarCommand, { call: number }>;

interface Reply {
  readonly mask: Uint32Array<ArrayBuffer> | null;
  /** Which worker said so. */
  readonly worker: number;
}

/** What the worker was asked, and has not answered. */
interface Call {
  /** Says it again to a worker that knows nothing. */
  readonly again: (call: number) => AskingCommand;
  readonly type: AskingCommand['type'];
  readonly structuralTag: string;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: SkeinError) => void;
}

/** A worker, or the lack of one; what it knows goes with it. */
interface Running {
  readonly port: GrammarPort;
  isReady: boolean;
}

/**
 * Grammars in a worker of their own, which is started when the first is asked for. What takes too long, or breaks the library, ends
 * the worker: whoever asked for it hears why, and the others go on with a new one without noticing.
 */
export class GrammarHost {
  readonly #options: GrammarHostOptions;
  readonly #clock: Clock;
  /** In the order in which they are answered. */
  readonly #calls = new Map<number, Call>();
  readonly #refused = new Map<string, SkeinError>();
  #running: Running | null = null;
  /** Counts workers: a constraint that was opened in an earlier one is not open any more. */
  #workers = 0;
  #outbox: GrammarCommand[] = [];
  #counter = 0;
  #cancelDeadline: () => void = () => undefined;
  #isDisposed = false;

  constructor(options: GrammarHostOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** @throws SkeinError `bad-argument` with the reason where no grammar can be made of it. */
  async check(structuralTag: string): Promise<void> {
    this.#checkRoom(structuralTag);
    await this.#ask('check', structuralTag, (call) => ({ type: 'check', call, structuralTag }));
  }

  /** See ConstraintCompiler. */
  async open({ structuralTag, stopTokenIds, answer }: ConstraintQuestion): Promise<AnswerConstraint> {
    this.#checkRoom(structuralTag);
    const constraint = this.#counter++;
    const tokenIds = [...answer];
    const openAgain = (call: number): AskingCommand => {
      const soFar = [...tokenIds];
      return { type: 'open', call, constraint, structuralTag, stopTokenIds, answer: soFar };
    };
    let latest = await this.#ask('open', structuralTag, openAgain);
    const over = new AbortController();
    return {
      mask: () => latest.mask,
      accept: async (tokenId) => {
        over.signal.throwIfAborted();
        tokenIds.push(tokenId);
        const accept = (call: number): AskingCommand => ({ type: 'accept', call, constraint, tokenId });
        const isOpen = latest.worker === this.#workers;
        const reply = isOpen
          ? this.#ask('accept', structuralTag, openAgain, accept)
          : this.#ask('open', structuralTag, openAgain);
        latest = await reply;
        over.signal.throwIfAborted();
      },
      dispose: () => {
        if (over.signal.aborted) return;
        over.abort(disposedError());
        if (latest.worker === this.#workers && this.#running !== null)
          this.#post({ type: 'close', constraint });
      },
    };
  }

  /** Ends the worker. Idempotent; what is waited for is rejected. */
  dispose(): void {
    this.#isDisposed = true;
    this.#stop();
    this.#rejectAll(disposedError());
  }

  #checkRoom(structuralTag: string): void {
    const refused = this.#refused.get(structuralTag);
    if (refused !== undefined) throw refused;
    const waiting = [...this.#calls.values()].filter(({ type }) => type !== 'accept').length;
    if (waiting < MAX_WAITING) return;
    throw new SkeinError('busy', `${waiting} constraints wait to be compiled. Try again in a moment.`, {
      data: { waiting },
    });
  }

  #ask(
    type: AskingCommand['type'],
    structuralTag: string,
    again: Call['again'],
    command: Call['again'] = again,
  ): Promise<Reply> {
    if (this.#isDisposed) return Promise.reject(disposedError());
    return new Promise((resolve, reject) => {
      const call = this.#counter++;
      this.#calls.set(call, { again, type, structuralTag, resolve, reject });
      this.#post(command(call));
    });
  }

  /** What is said in one turn goes in one message, and is answered in one. */
  #post(command: GrammarCommand): void {
    this.#outbox.push(command);
    if (this.#outbox.length === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const commands = this.#outbox;
    if (commands.length === 0 || this.#isDisposed) return;
    this.#outbox = [];
    const wasIdle = this.#running === null;
    const running = (this.#running ??= this.#start());
    running.port.postMessage(commands);
    if (wasIdle || this.#calls.size > 0) this.#watch(running);
  }

  #start(): Running {
    const port = (this.#options.startPort ?? startGrammarPort)();
    const running: Running = { port, isReady: false };
    port.onAnswers = (answers) => {
      if (this.#running === running) this.#take(running, answers);
    };
    port.onFailure = (reason) => {
      if (this.#running === running) this.#lose(reason);
    };
    const { vocabulary } = this.#options;
    if (vocabulary !== null) port.postMessage([{ type: 'vocabulary', vocabulary }]);
    return running;
  }

  #take(running: Running, answers: readonly GrammarAnswer[]): void {
    running.isReady = true;
    let isSpent = false;
    for (const answer of answers) {
      const call = this.#calls.get(answer.call);
      if (call === undefined) continue;
      this.#calls.delete(answer.call);
      if ('mask' in answer) call.resolve({ mask: answer.mask, worker: this.#workers });
      else {
        isSpent ||= answer.isSpent;
        this.#reject(call, SkeinError.fromShape(answer.error), answer.isSpent);
      }
    }
    if (isSpent) this.#restart();
    else this.#watch(running);
  }

  /** Each answer is due some time after the one before it. */
  #watch(running: Running): void {
    this.#cancelDeadline();
    const isWanted = this.#calls.size > 0;
    running.port.keepAlive(isWanted);
    if (!isWanted) return;
    this.#cancelDeadline = running.isReady
      ? this.#clock.after(ANSWER_DEADLINE_MS, () => this.#blame())
      : this.#clock.after(START_DEADLINE_MS, () => this.#lose(`it did not start in ${START_DEADLINE_MS} ms`));
  }

  /** Masks are made many at a time: whose takes so long is found out when each is asked for again, alone. */
  #blame(): void {
    const [first] = this.#calls;
    if (first === undefined) return;
    const [call, slow] = first;
    if (slow.type !== 'accept') {
      this.#calls.delete(call);
      const message = `The constraint needs more than ${ANSWER_DEADLINE_MS} ms to become a grammar. Make it simpler.`;
      this.#reject(slow, constraintError(message), true);
    }
    this.#restart();
  }

  /** @param isKnown whether asking again gives the same. */
  #reject(call: Call, error: SkeinError, isKnown: boolean): void {
    if (isKnown && error.code === 'bad-argument') {
      this.#refused.set(call.structuralTag, error);
      const [oldest] = this.#refused.keys();
      if (this.#refused.size > MAX_REFUSED && oldest !== undefined) this.#refused.delete(oldest);
    }
    call.reject(error);
  }

  #restart(): void {
    this.#stop();
    const calls = [...this.#calls];
    this.#calls.clear();
    for (const [call, { again, ...rest }] of calls) {
      const command = again(call);
      this.#calls.set(call, { ...rest, again, type: command.type });
      this.#post(command);
    }
  }

  #lose(reason: string): void {
    this.#stop();
    // Others may have one that works, and nobody is wrong.
    this.#rejectAll(new SkeinError('busy', `The worker of grammars failed here: ${reason}.`));
  }

  #stop(): void {
    this.#cancelDeadline();
    this.#outbox = [];
    this.#running?.port.terminate();
    this.#running = null;
    this.#workers += 1;
  }

  #rejectAll(error: SkeinError): void {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const { reject } of calls) reject(error);
  }
}

function disposedError(): SkeinError {
  return new SkeinError('aborted', 'The constraint was given up.');
}

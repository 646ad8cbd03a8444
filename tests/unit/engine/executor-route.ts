import { Executor } from '../../../src/engine/executor.ts';
import type { ExecutorOptions } from '../../../src/engine/executor.ts';
import { BlockHashChain } from '../../../src/protocol/block-hashes.ts';
import type { ErrorCode } from '../../../src/protocol/errors.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { ModelId, PeerId, RequestId } from '../../../src/protocol/ids.ts';
import { GREEDY, NO_HISTORY } from '../../../src/protocol/sampling.ts';
import { BLOCK_TOKENS } from '../../../src/protocol/stage.ts';
import type { OpenRequest, StageOutput } from '../../../src/protocol/stage.ts';
import { ManualClock } from '../mesh/manual-clock.ts';
import { RecordingSlice } from './recording-slice.ts';
import { EPOCH_KEYS } from '../../fixtures/epoch-keys.ts';

const PEER = 'a'.repeat(32) as PeerId;
export const MODEL = 'm' as ModelId;

export function requestId(index: number): RequestId {
  return index.toString(16).padStart(16, '0') as RequestId;
}

export function openRequest(
  id: RequestId,
  promptTokens: number,
  maxTokens: number,
  changes: Partial<OpenRequest> & { readonly hopCount?: number } = {},
): OpenRequest {
  const { hopCount = 1, ...fields } = changes;
  const hops = Array.from({ length: hopCount }, (_, index) => ({
    peer: PEER,
    layerStart: index,
    layerEnd: index + 1,
  }));
  return {
    route: { requestId: id, epoch: 0, model: MODEL, hops },
    requester: PEER,
    promptTokens,
    maxTokens,
    blockHashes: [],
    timeLimitMs: 3_600_000,
    stopTokenIds: [],
    sampling: GREEDY,
    history: NO_HISTORY,
    constraint: null,
    keepsCache: true,
    epochKey: EPOCH_KEYS.at(0),
    ...fields,
  };
}

export function hashesOf(ids: readonly number[]): string[] {
  const chain = new BlockHashChain(MODEL);
  chain.append(ids);
  return [...chain.hashes];
}

/** Resolves when every microtask that can run has run. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export interface Asked {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  /** Whether stages may look its prompt up, and keep it. Default true. */
  readonly isCached?: boolean;
  /** It is closed after so many tokens, whatever is on its way. */
  readonly abortAfter?: number;
  readonly timeLimitMs?: number;
}

export interface Answer {
  tokens: number[];
  /** Why it ended early. */
  ended: ErrorCode | 'aborted' | null;
  /** Prompt tokens that no stage computed, in the end. */
  cachedTokens: number;
  /** How often a stage was full, and it was asked again. */
  retries: number;
}

interface Running {
  readonly asked: Asked;
  readonly answer: Answer;
  readonly id: RequestId;
  /** What the stages know as the prompt: after a retry, the tokens so far belong to it. */
  readonly prompt: readonly number[];
  isOver: boolean;
}

/** Executors of one route, the ring between them and a requester, all in one process and on one clock. */
export class ExecutorRoute {
  readonly clock = new ManualClock();
  readonly slices: readonly RecordingSlice[];
  readonly executors: readonly Executor[];
  /** Errors that nobody outside can cause. */
  readonly faults: SkeinError[] = [];
  readonly #running = new Map<RequestId, Running>();
  #ids = 0;

  constructor(blockCounts: readonly number[], options: ExecutorOptions = {}) {
    const last = blockCounts.length - 1;
    this.slices = blockCounts.map(
      (blockCount, index) =>
        new RecordingSlice(blockCount, { hasEmbedding: index === 0, hasHead: index === last }),
    );
    this.executors = this.slices.map((slice, index) => {
      const executor = new Executor(slice, { clock: this.clock, ...options });
      executor.onStep = (outputs) => this.#deliver(index, outputs);
      return executor;
    });
  }

  /**
   * Answers all, which come at the same time.
   * @param orders for each stage, in which order it hears of them.
   */
  async ask(asked: readonly Asked[], orders: readonly (readonly number[])[] = []): Promise<Answer[]> {
    const started = asked.map((each) => this.#make(each, each.prompt));
    const opened = started.map(() => [] as number[]);
    this.executors.forEach((executor, stage) => {
      for (const index of orders[stage] ?? started.keys()) {
        const running = started[index];
        if (running) opened[index]?.push(this.#open(executor, running));
      }
    });
    started.forEach((running, index) => this.#feedPrompt(running, Math.min(...(opened[index] ?? []))));
    await this.finish();
    return started.map(({ answer }) => answer);
  }

  /** Runs until nothing is open, with as much time as it takes. */
  async finish(): Promise<void> {
    for (let idle = 0; this.#running.size > 0; idle++) {
      await settled();
      if (idle > 20_000) throw new Error(`${this.#running.size} requests hang`);
      this.clock.advance(10);
    }
    await settled();
  }

  /** Lets time pass, a millisecond at a time. */
  async pass(ms: number): Promise<void> {
    for (let step = 0; step < ms; step++) {
      this.clock.advance(1);
      await settled();
    }
  }

  /** Whatever an executor holds beside what is cached. */
  get leftovers() {
    return this.executors.map(({ stats }, index) => ({
      blocks: (this.slices[index]?.blockCount ?? 0) - stats.freeBlocks,
      logBytes: stats.logBytes,
      sequences: stats.activeSequences,
    }));
  }

  total(key: 'preemptions' | 'rowsRecomputed' | 'cachedTokens'): number {
    return this.executors.reduce((sum, { stats }) => sum + stats[key], 0);
  }

  #make(asked: Asked, prompt: readonly number[], answer?: Answer): Running {
    const running: Running = {
      asked,
      prompt,
      answer: answer ?? { tokens: [], ended: null, cachedTokens: 0, retries: 0 },
      id: requestId(++this.#ids),
      isOver: false,
    };
    this.#running.set(running.id, running);
    return running;
  }

  #open(executor: Executor, { id, asked, prompt, answer }: Running): number {
    const request = openRequest(id, prompt.length, asked.maxTokens - answer.tokens.length, {
      hopCount: this.executors.length,
      blockHashes: asked.isCached === false ? [] : hashesOf(prompt),
      ...(asked.timeLimitMs !== undefined && { timeLimitMs: asked.timeLimitMs }),
    });
    return executor.open(request).cachedTokens;
  }

  #feedPrompt(running: Running, cachedTokens: number): void {
    running.answer.cachedTokens = cachedTokens;
    // Not always all that could be skipped: another stage may have had less.
    const position = Math.floor(cachedTokens / BLOCK_TOKENS) * BLOCK_TOKENS;
    this.executors[0]?.push(running.id, position, {
      kind: 'tokens',
      tokenIds: Uint32Array.from(running.prompt.slice(position)),
    });
  }

  #deliver(stage: number, outputs: readonly StageOutput[]): Promise<void> {
    for (const output of outputs) {
      const running = this.#running.get(output.requestId);
      if (!running || running.isOver) continue;
      try {
        this.#take(stage, running, output);
      } catch (thrown) {
        this.#fail(running, SkeinError.from(thrown));
      }
    }
    return Promise.resolve();
  }

  #take(stage: number, running: Running, output: StageOutput): void {
    switch (output.kind) {
      case 'failed':
        if (output.error.code === 'busy') this.#retry(running);
        else this.#fail(running, output.error);
        break;
      case 'activations': {
        const { position, rows, values } = output;
        this.executors[stage + 1]?.push(running.id, position, {
          kind: 'activations',
          rows,
          values: values.slice(),
        });
        break;
      }
      case 'token': {
        const { tokens } = running.answer;
        const position = running.asked.prompt.length + tokens.length;
        if (output.position !== position) throw new Error(`a token for ${output.position}, not ${position}`);
        tokens.push(output.tokenId);
        if (tokens.length === running.asked.maxTokens) this.#end(running, null);
        else if (tokens.length === running.asked.abortAfter) this.#end(running, 'aborted');
        else {
          this.executors[0]?.push(running.id, position, {
            kind: 'tokens',
            tokenIds: Uint32Array.of(output.tokenId),
          });
        }
        break;
      }
    }
  }

  #retry(running: Running): void {
    const { asked, answer } = running;
    this.#close(running);
    answer.retries += 1;
    const again = this.#make(asked, [...asked.prompt, ...answer.tokens], answer);
    this.#feedPrompt(again, Math.min(...this.executors.map((executor) => this.#open(executor, again))));
  }

  #fail(running: Running, error: SkeinError): void {
    if (error.code === 'internal') this.faults.push(error);
    this.#end(running, error.code);
  }

  #end(running: Running, reason: Answer['ended']): void {
    running.answer.ended = reason;
    this.#close(running);
  }

  #close(running: Running): void {
    running.isOver = true;
    this.#running.delete(running.id);
    const { asked, answer } = running;
    const hashes = asked.isCached === false ? [] : hashesOf([...asked.prompt, ...answer.tokens]);
    for (const executor of this.executors) executor.close(running.id, hashes);
  }
}

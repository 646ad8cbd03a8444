import { systemClock } from '../protocol/clock.ts';
import type { Clock } from '../protocol/clock.ts';
import { constraintError } from '../protocol/constraint.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { RequestId } from '../protocol/ids.ts';
import type { OpenRequest, StageExecutor, StageInput, StageOutput, StagePace } from '../protocol/stage.ts';
import type { ConstraintCompiler } from './answer-constraint.ts';
import { assembleBatch } from './assemble-batch.ts';
import type { PlannedSequence } from './assemble-batch.ts';
import type { BatchResult, Slice } from './batch.ts';
import { BlockManager } from './block-manager.ts';
import { ConstraintGate } from './constraint-gate.ts';
import { planBatch } from './plan.ts';
import type { PlannableSequence } from './plan.ts';
import {
  checkFits,
  checkInput,
  logLimitError,
  openLimitError,
  pinnedBlocksError,
  timeLimitError,
} from './request-checks.ts';
import { Sequence } from './sequence.ts';
import { TraceRing } from './step-trace.ts';
import type { StepTrace } from './step-trace.ts';
import { TokenHistory } from './token-history.ts';

/** Rows of one prompt per batch. Small enough that stages overlap on chunks of one prompt, large enough to fill a matmul tile. */
const DEFAULT_PREFILL_CHUNK_ROWS = 64;
/** Requests that are open at once, waiting ones included: each costs a plan some time, whether it gets a turn or not. */
const DEFAULT_MAX_OPEN_SEQUENCES = 256;
/** Inputs kept for recomputing, over all sequences: 16,384 tokens of 8,192 halves each. */
const DEFAULT_MAX_LOG_BYTES = 256 * 1024 * 1024;
/** Much longer than a token takes around any route that answers in time, and short beside the patience of a reader. */
const DEFAULT_IDLE_HOLD_MS = 3_000;

export interface ExecutorOptions {
  readonly prefillChunkRows?: number;
  readonly maxOpenSequences?: number;
  readonly maxLogBytes?: number;
  /** A sequence for which nothing came for this long gives its blocks to whoever lacks them. */
  readonly idleHoldMs?: number;
  readonly clock?: Clock;
  /** Makes grammars of what answers have to keep to. Without it, a stage that samples refuses requests that want it. */
  readonly constraints?: ConstraintCompiler;
  /** Of all the blocks of the slice; tests bring one that they share blocks of. */
  readonly blocks?: BlockManager;
}

export interface ExecutorStats {
  /** Requests that are open. */
  readonly activeSequences: number;
  /** Of those, the ones that wait for room in the cache. */
  readonly waitingSequences: number;
  /** Token rows computed since the slice was loaded. */
  readonly rowsComputed: number;
  /** Of those, rows that had been computed before, for sequences that had given up their blocks. */
  readonly rowsRecomputed: number;
  /** Prompt tokens that were not computed because they were in the prefix cache. */
  readonly cachedTokens: number;
  /** How often a sequence gave up its blocks to another. */
  readonly preemptions: number;
  /** Forward passes since the slice was loaded. */
  readonly steps: number;
  /** Time spent in forward passes. */
  readonly busyMs: number;
  readonly freeBlocks: number;
  /** Host memory that inputs take, kept for recomputing. */
  readonly logBytes: number;
}

interface OpenSequence {
  readonly sequence: Sequence;
  /** Batches since it has rows. */
  waitedSteps: number;
  /** When there was last something to compute. */
  activeAtMs: number;
  readonly cancelDeadline: () => void;
  /** What comes of it cannot go anywhere for now. */
  isPaused: boolean;
}

/** An output, with the sequence it belongs to: a request may be closed and opened anew before it leaves. */
interface SequenceOutput {
  readonly open: OpenSequence;
  readonly output: StageOutput;
}

/**
 * Turns what arrives for many requests into batches for one slice: take → plan → forward → emit, one batch at a time.
 *
 * Requests take cache blocks as they need them; when there are too few, the youngest gives its own up and is computed again
 * later, here and without its neighbours knowing. Blocks are given on at once, even those of a request that is closed
 * while a batch writes to them: the next batch reaches the GPU's one queue after it, and is executed after it.
 */
export class Executor implements StageExecutor {
  onStep: (outputs: readonly StageOutput[]) => Promise<void> = () => Promise.resolve();

  readonly #slice: Slice;
  readonly #blocks: BlockManager;
  readonly #options: Required<Pick<ExecutorOptions, 'prefillChunkRows' | 'maxOpenSequences' | 'maxLogBytes'>>;
  readonly #idleHoldMs: number;
  readonly #constraints: ConstraintCompiler | undefined;
  readonly #clock: Clock;
  /** In order of turn: whoever was served last is last. */
  readonly #open = new Map<RequestId, OpenSequence>();
  readonly #trace = new TraceRing();
  readonly #totals = {
    rowsComputed: 0,
    rowsRecomputed: 0,
    cachedTokens: 0,
    preemptions: 0,
    steps: 0,
    busyMs: 0,
  };
  /** Failures on their way out with the next step. */
  #failures: SequenceOutput[] = [];
  #opened = 0;
  #logBytes = 0;
  #isRunning = false;
  #cancelRetry: () => void = () => undefined;
  /** The outputs of the last step on their way; while they travel one more step may run, and no more. */
  #emitting: Promise<void> = Promise.resolve();
  #broken: SkeinError | null = null;

  constructor(slice: Slice, options: ExecutorOptions = {}) {
    this.#slice = slice;
    this.#blocks = options.blocks ?? new BlockManager(slice.blockCount);
    this.#options = {
      prefillChunkRows: options.prefillChunkRows ?? DEFAULT_PREFILL_CHUNK_ROWS,
      maxOpenSequences: options.maxOpenSequences ?? DEFAULT_MAX_OPEN_SEQUENCES,
      maxLogBytes: options.maxLogBytes ?? DEFAULT_MAX_LOG_BYTES,
    };
    this.#idleHoldMs = options.idleHoldMs ?? DEFAULT_IDLE_HOLD_MS;
    this.#constraints = options.constraints;
    this.#clock = options.clock ?? systemClock;
  }

  get stats(): ExecutorStats {
    const sequences = Array.from(this.#open.values(), ({ sequence }) => sequence);
    return {
      ...this.#totals,
      activeSequences: sequences.filter(({ stand }) => stand !== 'over').length,
      waitingSequences: sequences.filter(({ stand }) => stand === 'waiting').length,
      freeBlocks: this.#blocks.freeCount,
      logBytes: this.#logBytes,
    };
  }

  /** The latest forward passes, oldest first. */
  get trace(): readonly StepTrace[] {
    return this.#trace.read();
  }

  get pace(): StagePace {
    return { steps: this.#totals.steps, typicalStepMs: this.#trace.typicalMs };
  }

  open(
    request: OpenRequest,
    cacheScope: string = request.requester,
    isPrivate = false,
  ): { readonly cachedTokens: number } {
    if (this.#broken) throw this.#broken;
    this.#checkOpen(request);
    const { hasHead, vocabSize } = this.#slice;
    const history = hasHead ? new TokenHistory(request, vocabSize) : null;
    const constraint = hasHead ? this.#constrain(request, (error) => this.#fail(open, error)) : null;
    const age = this.#opened++;
    const sequence = new Sequence(request, age, this.#blocks, cacheScope, history, isPrivate, constraint);
    const open: OpenSequence = {
      sequence,
      waitedSteps: 0,
      activeAtMs: this.#clock.now(),
      isPaused: false,
      cancelDeadline: this.#clock.after(request.timeLimitMs, () => this.#fail(open, timeLimitError(request))),
    };
    this.#open.set(request.route.requestId, open);
    return { cachedTokens: sequence.cacheLength };
  }

  push(requestId: RequestId, position: number, input: StageInput): void {
    const open = this.#open.get(requestId);
    if (open === undefined) throw new SkeinError('bad-frame', `Request ${requestId} is not open.`);
    const { sequence } = open;
    // It failed, and whoever feeds it has not heard yet.
    if (sequence.stand === 'over') return;
    checkInput(input, this.#slice);
    const isFirst = sequence.stand === 'opened';
    const logBytes = this.#logBytes - sequence.logBytes;
    sequence.append(position, input);
    if (isFirst) this.#totals.cachedTokens += position;
    this.#logBytes = logBytes + sequence.logBytes;
    const { maxLogBytes } = this.#options;
    if (this.#logBytes > maxLogBytes) this.#fail(open, logLimitError(this.#logBytes, maxLogBytes));
    this.#start();
  }

  close(requestId: RequestId, blockHashes: readonly string[] = [], keepScope?: string): void {
    const open = this.#open.get(requestId);
    if (open === undefined) return;
    this.#open.delete(requestId);
    this.#end(open, blockHashes, keepScope);
    this.#start();
  }

  pause(requestId: RequestId, isPaused: boolean): void {
    const open = this.#open.get(requestId);
    if (open === undefined) return;
    open.isPaused = isPaused;
    if (!isPaused) this.#start();
  }

  #checkOpen(request: OpenRequest): void {
    const { requestId } = request.route;
    if (this.#open.has(requestId)) {
      throw new SkeinError('bad-frame', `Request ${requestId} is open already.`);
    }
    checkFits(request, this.#slice);
    const { maxOpenSequences, maxLogBytes } = this.#options;
    if (this.#open.size >= maxOpenSequences) throw openLimitError(this.#open.size, maxOpenSequences);
    if (this.#logBytes >= maxLogBytes) throw logLimitError(this.#logBytes, maxLogBytes);
  }

  /** @throws SkeinError `bad-argument` where there is nothing to constrain answers with. */
  #constrain(
    { constraint, stopTokenIds }: OpenRequest,
    onFailed: (error: SkeinError) => void,
  ): ConstraintGate | null {
    if (constraint === null) return null;
    if (this.#constraints === undefined) {
      throw constraintError('This stage cannot constrain answers. Ask without a constraint.');
    }
    const { structuralTag, answer } = constraint;
    const compiling = this.#constraints({ structuralTag, answer, stopTokenIds });
    return new ConstraintGate(compiling, { onReady: () => this.#start(), onFailed });
  }

  #end(open: OpenSequence, blockHashes: readonly string[] = [], keepScope?: string): void {
    open.cancelDeadline();
    this.#logBytes -= open.sequence.logBytes;
    open.sequence.end(blockHashes, keepScope);
  }

  /** What it holds is free at once; it stays open, and silent, until whoever opened it has heard and closes it. */
  #fail(open: OpenSequence, error: SkeinError): void {
    if (open.sequence.stand === 'over') return;
    this.#end(open);
    const { requestId } = open.sequence.request.route;
    this.#failures.push({ open, output: { kind: 'failed', requestId, error } });
    this.#start();
  }

  #start(): void {
    if (!this.#isRunning) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    this.#cancelRetry();
    // What arrives in one frame, for many requests, is to be one batch.
    await Promise.resolve();
    try {
      for (;;) {
        const planned = this.#plan();
        if (planned.length === 0 && this.#failures.length === 0) return;
        const outputs = planned.length === 0 ? [] : await this.#step(planned);
        await this.#emitting;
        const failures = this.#failures;
        this.#failures = [];
        // Closed, or closed and opened anew, while the GPU computed or the step before was on its way; or failed meanwhile.
        const wanted = [
          ...outputs.filter(({ open }) => this.#isOpen(open) && open.sequence.stand !== 'over'),
          ...failures.filter(({ open }) => this.#isOpen(open)),
        ];
        this.#emitting = this.onStep(wanted.map(({ output }) => output));
      }
    } finally {
      this.#isRunning = false;
    }
  }

  #plan(): PlannedSequence[] {
    const now = this.#clock.now();
    const pending: OpenSequence[] = [];
    const plannable = new Map<RequestId, PlannableSequence>();
    for (const [requestId, open] of this.#open) {
      const idleMs = now - open.activeAtMs;
      const known = open.sequence.plannable(open.waitedSteps, idleMs);
      const holding = open.isPaused ? { ...known, pendingRows: 0, idleMs } : known;
      if (holding.pendingRows > 0) pending.push(open);
      plannable.set(requestId, holding);
    }
    const plan = planBatch([...plannable.values()], {
      maxRows: this.#slice.maxBatchRows,
      maxSequences: this.#slice.maxBatchSequences,
      prefillChunkRows: this.#options.prefillChunkRows,
      freeBlocks: this.#blocks.freeCount,
      idleHoldMs: this.#idleHoldMs,
    });
    for (const requestId of plan.ended) {
      const open = this.#open.get(requestId);
      if (open !== undefined) this.#fail(open, pinnedBlocksError(requestId));
    }
    for (const requestId of plan.preempted) this.#open.get(requestId)?.sequence.preempt();
    this.#totals.preemptions += plan.preempted.length;
    if (plan.rows.length > 0) for (const open of pending) open.waitedSteps += 1;
    else if (plan.retryAfterMs !== null) {
      this.#cancelRetry = this.#clock.after(plan.retryAfterMs, () => this.#start());
    }
    return plan.rows.flatMap(({ requestId, rowCount }) => {
      const open = this.#open.get(requestId);
      if (open === undefined) return [];
      this.#open.delete(requestId);
      this.#open.set(requestId, open);
      open.waitedSteps = 0;
      const { sequence } = open;
      sequence.admit(plannable.get(requestId)?.cacheLength ?? 0);
      const { cacheLength: position, isRecomputing: isRecomputed } = sequence;
      try {
        return [{ sequence, rowCount, position, isRecomputed, head: sequence.headAt(position + rowCount) }];
      } catch (thrown) {
        // What one request asks for is no fault of the batch.
        this.#fail(open, SkeinError.from(thrown));
        return [];
      }
    });
  }

  #isOpen(open: OpenSequence): boolean {
    return this.#open.get(open.sequence.request.route.requestId) === open;
  }

  async #step(planned: readonly PlannedSequence[]): Promise<SequenceOutput[]> {
    const startMs = this.#clock.now();
    try {
      const result = await this.#slice.forward(assembleBatch(planned, this.#slice));
      return this.#take(planned, result);
    } catch (thrown) {
      const error = SkeinError.from(thrown);
      if (error.code === 'device-lost') this.#broken = error;
      const sequences = new Set(planned.map(({ sequence }) => sequence));
      for (const open of [...this.#open.values()]) {
        if (this.#broken || sequences.has(open.sequence)) this.#fail(open, error);
      }
      return [];
    } finally {
      const endMs = this.#clock.now();
      const rows = planned.reduce((sum, { rowCount }) => sum + rowCount, 0);
      this.#totals.busyMs += endMs - startMs;
      this.#trace.push({ startMs, endMs, rows, sequences: planned.length });
    }
  }

  #take(planned: readonly PlannedSequence[], result: BatchResult): SequenceOutput[] {
    const { hiddenSize } = this.#slice;
    const outputs: SequenceOutput[] = [];
    this.#totals.steps += 1;
    let row = 0;
    planned.forEach(({ sequence, rowCount, position, isRecomputed }, index) => {
      const { requestId } = sequence.request.route;
      const firstRow = row;
      row += rowCount;
      this.#totals.rowsComputed += rowCount;
      if (isRecomputed) this.#totals.rowsRecomputed += rowCount;
      const open = this.#open.get(requestId);
      if (open?.sequence !== sequence) return;
      sequence.commit(rowCount);
      open.activeAtMs = this.#clock.now();
      const head = result.sequences[index];
      if (head?.kind === 'token') {
        const { tokenId, logProbability, topLogProbabilities } = head;
        const sampledAt = position + rowCount;
        sequence.count(sampledAt, tokenId);
        outputs.push({
          open,
          output: {
            kind: 'token',
            requestId,
            position: sampledAt,
            tokenId,
            logProbability,
            topLogProbabilities,
          },
        });
      }
      if (result.hiddenStates !== null && !isRecomputed) {
        const values = result.hiddenStates.subarray(firstRow * hiddenSize, row * hiddenSize);
        outputs.push({
          open,
          output: { kind: 'activations', requestId, position, rows: rowCount, values },
        });
      }
    });
    return outputs;
  }
}

import { SkeinError } from '../protocol/errors.ts';
import type { RequestId } from '../protocol/ids.ts';
import type { OpenRequest, StageExecutor, StageInput, StageOutput } from '../protocol/stage.ts';
import { BLOCK_TOKENS } from './batch.ts';
import type { BatchResult, RaggedBatch, Slice } from './batch.ts';
import { BlockPool } from './block-pool.ts';
import { planBatch } from './plan.ts';
import type { PlannedRows } from './plan.ts';
import { rowsOf, Sequence } from './sequence.ts';

/** Rows of one prompt per batch. Small enough that stages overlap on chunks of one prompt, large enough to fill a matmul tile. */
const DEFAULT_PREFILL_CHUNK_ROWS = 64;

export interface ExecutorOptions {
  readonly prefillChunkRows?: number;
  /** Milliseconds, monotonic; injected for tests. */
  readonly now?: () => number;
}

export interface ExecutorStats {
  readonly activeSequences: number;
  /** Token rows computed since the slice was loaded. */
  readonly rowsComputed: number;
  /** Forward passes since the slice was loaded. */
  readonly steps: number;
  /** Time spent in forward passes. */
  readonly busyMs: number;
}

interface PlannedSequence extends PlannedRows {
  readonly sequence: Sequence;
  /** Position of the first row. */
  readonly position: number;
}

/** What a pass gave, with the sequence it was computed for: a request may be closed and opened anew meanwhile. */
interface SequenceOutput {
  readonly sequence: Sequence;
  readonly output: StageOutput;
}

/**
 * Turns what arrives for many requests into batches for one slice: take → plan → forward → emit, one batch at a time.
 * The cache for a whole sequence is reserved when it opens, so a request that started never runs out of it.
 */
export class Executor implements StageExecutor {
  onStep: (outputs: readonly StageOutput[]) => Promise<void> = () => Promise.resolve();

  readonly #slice: Slice;
  readonly #pool: BlockPool;
  readonly #prefillChunkRows: number;
  readonly #now: () => number;
  /** In order of turn: whoever was served last is last. */
  readonly #sequences = new Map<RequestId, Sequence>();
  #running = false;
  /** The outputs of the last step on their way; while they travel one more step may run, and no more. */
  #emitting: Promise<void> = Promise.resolve();
  #broken: SkeinError | null = null;
  #rowsComputed = 0;
  #steps = 0;
  #busyMs = 0;

  constructor(slice: Slice, options: ExecutorOptions = {}) {
    this.#slice = slice;
    this.#pool = new BlockPool(slice.blockCount);
    this.#prefillChunkRows = options.prefillChunkRows ?? DEFAULT_PREFILL_CHUNK_ROWS;
    this.#now = options.now ?? (() => performance.now());
  }

  get stats(): ExecutorStats {
    return {
      activeSequences: this.#sequences.size,
      rowsComputed: this.#rowsComputed,
      steps: this.#steps,
      busyMs: this.#busyMs,
    };
  }

  open(request: OpenRequest): { readonly cachedTokens: number } {
    if (this.#broken) throw this.#broken;
    const { requestId } = request.route;
    if (this.#sequences.has(requestId)) {
      throw new SkeinError('bad-frame', `Request ${requestId} is open already.`);
    }
    const tokens = request.promptTokens + request.maxTokens;
    const limit = Math.min(this.#slice.contextLength, this.#pool.blockCount * BLOCK_TOKENS);
    if (tokens > limit) {
      throw new SkeinError(
        'bad-argument',
        `A prompt of ${request.promptTokens} and an answer of ${request.maxTokens} tokens are more than the ${limit} this stage holds. Shorten the conversation or ask for fewer tokens.`,
        { data: { tokens, limit } },
      );
    }
    const blocks = this.#pool.allocate(Math.ceil(tokens / BLOCK_TOKENS));
    this.#sequences.set(requestId, new Sequence(request, blocks));
    return { cachedTokens: 0 };
  }

  push(requestId: RequestId, position: number, input: StageInput): void {
    const sequence = this.#sequences.get(requestId);
    if (sequence === undefined) throw new SkeinError('bad-frame', `Request ${requestId} is not open.`);
    this.#checkInput(input);
    sequence.append(position, input);
    if (!this.#running) void this.#run();
  }

  close(requestId: RequestId): void {
    const sequence = this.#sequences.get(requestId);
    if (sequence === undefined) return;
    this.#sequences.delete(requestId);
    this.#pool.release(sequence.blockTable);
  }

  #checkInput(input: StageInput): void {
    const wanted = this.#slice.hasEmbedding ? 'tokens' : 'activations';
    if (input.kind !== wanted) {
      throw new SkeinError('bad-frame', `This stage takes ${wanted}, and ${input.kind} came.`);
    }
    if (input.kind === 'tokens') {
      // Held here, where it fails one request; in a batch it would fail everyone's.
      const unknown = input.tokenIds.find((tokenId) => tokenId >= this.#slice.vocabSize);
      if (unknown !== undefined) {
        throw new SkeinError(
          'bad-frame',
          `Token ${unknown} came and the vocabulary has ${this.#slice.vocabSize}.`,
        );
      }
    } else if (input.values.length !== input.rows * this.#slice.hiddenSize) {
      throw new SkeinError(
        'bad-frame',
        `${input.values.length} values are not ${input.rows} rows of ${this.#slice.hiddenSize}.`,
      );
    }
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      for (;;) {
        const planned = this.#plan();
        if (planned.length === 0) return;
        const outputs = await this.#step(planned);
        await this.#emitting;
        // Closed, or closed and opened anew, while the GPU computed or the step before was on its way.
        const wanted = outputs.filter(({ sequence }) => this.#isOpen(sequence));
        this.#emitting = this.onStep(wanted.map(({ output }) => output));
      }
    } finally {
      this.#running = false;
    }
  }

  #plan(): PlannedSequence[] {
    const waiting = Array.from(this.#sequences, ([requestId, sequence]) => ({
      requestId,
      pendingRows: sequence.pendingRows,
      phase: sequence.phase,
    }));
    const plan = planBatch(waiting, {
      maxRows: this.#slice.maxBatchRows,
      maxSequences: this.#slice.maxBatchSequences,
      prefillChunkRows: this.#prefillChunkRows,
    });
    return plan.flatMap(({ requestId, rowCount }) => {
      const sequence = this.#sequences.get(requestId);
      if (sequence === undefined) return [];
      this.#sequences.delete(requestId);
      this.#sequences.set(requestId, sequence);
      return [{ requestId, rowCount, sequence, position: sequence.cacheLength }];
    });
  }

  #isOpen(sequence: Sequence): boolean {
    return this.#sequences.get(sequence.request.route.requestId) === sequence;
  }

  async #step(planned: readonly PlannedSequence[]): Promise<SequenceOutput[]> {
    const startedAt = this.#now();
    try {
      const result = await this.#slice.forward(assembleBatch(planned));
      this.#steps += 1;
      this.#rowsComputed += planned.reduce((rows, { rowCount }) => rows + rowCount, 0);
      return this.#outputs(planned, result);
    } catch (thrown) {
      const error = SkeinError.from(thrown);
      if (error.code === 'device-lost') this.#broken = error;
      const failed = this.#broken ? [...this.#sequences.values()] : planned.map(({ sequence }) => sequence);
      return failed.map((sequence) => ({
        sequence,
        output: { kind: 'failed', requestId: sequence.request.route.requestId, error },
      }));
    } finally {
      this.#busyMs += this.#now() - startedAt;
    }
  }

  #outputs(planned: readonly PlannedSequence[], result: BatchResult): SequenceOutput[] {
    const outputs: SequenceOutput[] = [];
    let row = 0;
    planned.forEach(({ requestId, rowCount, sequence, position }, index) => {
      const firstRow = row;
      row += rowCount;
      const head = result.sequences[index];
      if (head?.kind === 'token') {
        const { tokenId, logProbability, topLogProbabilities } = head;
        const sampledAt = position + rowCount;
        outputs.push({
          sequence,
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
      if (result.hiddenStates !== null) {
        const { hiddenSize } = this.#slice;
        const values = result.hiddenStates.subarray(firstRow * hiddenSize, row * hiddenSize);
        outputs.push({
          sequence,
          output: { kind: 'activations', requestId, position, rows: rowCount, values },
        });
      }
    });
    return outputs;
  }
}

function assembleBatch(planned: readonly PlannedSequence[]): RaggedBatch {
  const sequences = planned.map(({ sequence, rowCount, position }) => ({
    rowCount,
    cacheLength: position,
    blockTable: sequence.blockTable,
    head: sequence.headAt(position + rowCount),
  }));
  const pieces = planned.flatMap(({ sequence, rowCount }) => sequence.take(rowCount));
  return { sequences, input: concatenate(pieces) };
}

/** @param pieces all of one kind, which `push` has checked. */
function concatenate(pieces: readonly StageInput[]): RaggedBatch['input'] {
  const rows = pieces.reduce((sum, piece) => sum + rowsOf(piece), 0);
  const tokenIds = new Uint32Array(pieces.some(({ kind }) => kind === 'tokens') ? rows : 0);
  const valueCount = pieces.reduce(
    (sum, piece) => sum + (piece.kind === 'activations' ? piece.values.length : 0),
    0,
  );
  const values = new Float32Array(valueCount);
  let offset = 0;
  for (const piece of pieces) {
    if (piece.kind === 'tokens') {
      tokenIds.set(piece.tokenIds, offset);
      offset += piece.tokenIds.length;
    } else {
      values.set(piece.values, offset);
      offset += piece.values.length;
    }
  }
  return tokenIds.length > 0 ? { kind: 'tokens', tokenIds } : { kind: 'activations', values };
}

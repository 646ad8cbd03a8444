import { SkeinError } from '../../../src/protocol/errors.ts';
import type { RequestId } from '../../../src/protocol/ids.ts';
import { BLOCK_TOKENS, cacheableTokens } from '../../../src/protocol/stage.ts';
import type {
  OpenRequest,
  StageExecutor,
  StageInput,
  StageOutput,
  StagePace,
} from '../../../src/protocol/stage.ts';

/** Values stay below 2048, so that they are exact in f16. */
const MODULUS = 1021;
export const HIDDEN_SIZE = 2;

/** What layer `layer` makes of a row, given the sum of all earlier rows it saw: order, position and history all matter. */
function applyLayer(value: number, layer: number, history: number): number {
  return (value * 3 + layer + 1 + history * 7) % MODULUS;
}

/** The tokens the adding machine answers with, computed in one go without stages: the oracle of every split. */
export function expectedTokens(prompt: readonly number[], layerCount: number, count: number): number[] {
  const histories = new Array<number>(layerCount).fill(0);
  const tokens: number[] = [];
  let next = 0;
  const feed = (token: number) => {
    let value = token % MODULUS;
    for (let layer = 0; layer < layerCount; layer += 1) {
      const input = value;
      value = applyLayer(input, layer, histories[layer] ?? 0);
      histories[layer] = ((histories[layer] ?? 0) + input) % MODULUS;
    }
    next = value;
  };
  prompt.forEach(feed);
  for (let index = 0; index < count; index += 1) {
    tokens.push(next);
    feed(next);
  }
  return tokens;
}

interface MachineSequence {
  readonly request: OpenRequest;
  readonly cacheScope: string;
  readonly isPrivate: boolean;
  /** Rows may begin at or before this one; it is not known where until the first come. */
  readonly cachedTokens: number;
  /** After each full block, cached or computed: what a machine that begins there has to know. */
  readonly boundaries: (readonly number[])[];
  histories: number[];
  rows: number[];
  /** Null until the first rows come. */
  computed: number | null;
  isPaused: boolean;
}

export interface AddingMachineOptions {
  readonly layerStart: number;
  readonly layerEnd: number;
  readonly layerCount: number;
  readonly chunkRows?: number;
  readonly maxRequests?: number;
}

/** A stage executor whose arithmetic a reader can follow. Steps run on their own, one after the other. */
export class AddingMachine implements StageExecutor {
  onStep: (outputs: readonly StageOutput[]) => Promise<void> = () => Promise.resolve();
  readonly sequences = new Map<RequestId, MachineSequence>();
  /** The histories at the end of a prefix, by scope and block hash. */
  readonly cache = new Map<string, readonly number[]>();
  /** Rows computed since it was made. */
  rowsComputed = 0;
  /** Hashes of every close, in order. */
  readonly closedWith: (readonly string[])[] = [];
  /** Largest number of requests in one step. */
  largestBatch = 0;
  /** Changes what a step emits; for faults. */
  tamper: (outputs: StageOutput[]) => StageOutput[] = (outputs) => outputs;
  #steps = 0;
  #running = false;

  constructor(private readonly options: AddingMachineOptions) {}

  get pace(): StagePace {
    return { steps: this.#steps, typicalStepMs: 1 };
  }

  open(request: OpenRequest, cacheScope: string, isPrivate = false): { readonly cachedTokens: number } {
    const { maxRequests = Infinity, layerStart, layerEnd } = this.options;
    if (this.sequences.size >= maxRequests) throw new SkeinError('busy', 'The machine is full.');
    const { requestId } = request.route;
    if (this.sequences.has(requestId)) throw new SkeinError('bad-frame', `${requestId} is open already.`);
    const boundaries = this.#lookUp(request, cacheScope);
    const cachedTokens = boundaries.length * BLOCK_TOKENS;
    const histories = new Array<number>(layerEnd - layerStart).fill(0);
    this.sequences.set(requestId, {
      request,
      cacheScope,
      isPrivate,
      cachedTokens,
      boundaries,
      histories,
      rows: [],
      computed: null,
      isPaused: false,
    });
    return { cachedTokens };
  }

  push(requestId: RequestId, position: number, input: StageInput): void {
    const sequence = this.sequences.get(requestId);
    if (!sequence) throw new SkeinError('bad-frame', `${requestId} is not open.`);
    if (sequence.computed === null) this.#begin(sequence, position);
    else if (position !== sequence.computed + sequence.rows.length) {
      throw new SkeinError('bad-frame', `Position ${position} is not next.`);
    }
    if ((input.kind === 'tokens') !== (this.options.layerStart === 0)) {
      throw new SkeinError('bad-frame', `${input.kind} came.`);
    }
    const rows =
      input.kind === 'tokens'
        ? [...input.tokenIds].map((token) => token % MODULUS)
        : [...input.values].filter((_, index) => index % HIDDEN_SIZE === 0);
    sequence.rows.push(...rows);
    void this.#run();
  }

  get openSequences(): number {
    return this.sequences.size;
  }

  /** Runs in the pass in which it has computed so many rows since it was made; nothing of that pass leaves it. */
  whenComputed(rows: number, run: () => void): void {
    this.tamper = (outputs) => {
      if (this.rowsComputed < rows) return outputs;
      run();
      return [];
    };
  }

  pause(requestId: RequestId, isPaused: boolean): void {
    const sequence = this.sequences.get(requestId);
    if (sequence) sequence.isPaused = isPaused;
    void this.#run();
  }

  close(requestId: RequestId, blockHashes: readonly string[] = [], keepScope?: string): void {
    const sequence = this.sequences.get(requestId);
    if (!sequence) return;
    this.sequences.delete(requestId);
    this.closedWith.push(blockHashes);
    this.#keep(sequence, blockHashes, keepScope);
    if (!sequence.isPrivate) return;
    for (const key of [...this.cache.keys()]) {
      if (key.startsWith(`${sequence.cacheScope} `)) this.cache.delete(key);
    }
  }

  /** The histories after each block of the longest cached prefix. */
  #lookUp(request: OpenRequest, cacheScope: string): (readonly number[])[] {
    const boundaries: (readonly number[])[] = [];
    const most = cacheableTokens(request) / BLOCK_TOKENS;
    for (const hash of request.blockHashes.slice(0, most)) {
      const histories = this.cache.get(`${cacheScope} ${hash}`);
      if (!histories) break;
      boundaries.push(histories);
    }
    return boundaries;
  }

  #begin(sequence: MachineSequence, position: number): void {
    if (position % BLOCK_TOKENS !== 0 || position > sequence.cachedTokens) {
      throw new SkeinError('bad-frame', `Position ${position} is not cached.`);
    }
    sequence.boundaries.length = position / BLOCK_TOKENS;
    sequence.histories = [...(sequence.boundaries.at(-1) ?? sequence.histories)];
    sequence.computed = position;
  }

  #keep(
    { cacheScope, boundaries }: MachineSequence,
    blockHashes: readonly string[],
    scope: string = cacheScope,
  ): void {
    boundaries.forEach((histories, block) => {
      const hash = blockHashes[block];
      if (hash !== undefined) this.cache.set(`${scope} ${hash}`, histories);
    });
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    // What arrives in the same turn is one batch.
    await Promise.resolve();
    for (let waiting = this.#waiting(); waiting.length > 0; waiting = this.#waiting()) {
      await this.onStep(this.tamper(this.#step(waiting)));
    }
    this.#running = false;
  }

  #waiting(): [RequestId, MachineSequence][] {
    return [...this.sequences].filter(([, { rows, isPaused }]) => rows.length > 0 && !isPaused);
  }

  #step(waiting: [RequestId, MachineSequence][]): StageOutput[] {
    this.#steps += 1;
    this.largestBatch = Math.max(this.largestBatch, waiting.length);
    return waiting.flatMap(([requestId, sequence]) => this.#advance(requestId, sequence));
  }

  #advance(requestId: RequestId, sequence: MachineSequence): StageOutput[] {
    const position = sequence.computed ?? 0;
    const taken = sequence.rows.splice(0, this.options.chunkRows ?? Infinity);
    this.rowsComputed += taken.length;
    const results = taken.map((row, index) => {
      const result = this.#compute(sequence, row);
      if ((position + index + 1) % BLOCK_TOKENS === 0) sequence.boundaries.push([...sequence.histories]);
      return result;
    });
    const end = position + taken.length;
    sequence.computed = end;
    this.#keep(sequence, sequence.request.blockHashes);
    if (this.options.layerEnd < this.options.layerCount) {
      const values = Float32Array.from(results.flatMap((value, index) => [value, position + index]));
      return [{ kind: 'activations', requestId, position, rows: taken.length, values }];
    }
    const tokenId = results.at(-1) ?? 0;
    if (end < sequence.request.promptTokens) return [];
    return [
      {
        kind: 'token',
        requestId,
        position: end,
        tokenId,
        logProbability: -tokenId / MODULUS,
        topLogProbabilities: [],
      },
    ];
  }

  #compute(sequence: MachineSequence, row: number): number {
    return sequence.histories.reduce((value, history, index) => {
      sequence.histories[index] = (history + value) % MODULUS;
      return applyLayer(value, this.options.layerStart + index, history);
    }, row);
  }
}

import { SkeinError } from '../protocol/errors.ts';
import type { OpenRequest, StageInput } from '../protocol/stage.ts';
import type { HeadRequest } from './batch.ts';

/** One request on one stage: its cache reservation, how far it is computed, and the rows that wait. */
export class Sequence {
  #computed = 0;
  #received = 0;
  #pending: StageInput[] = [];

  constructor(
    readonly request: OpenRequest,
    readonly blockTable: readonly number[],
  ) {}

  /** Tokens in the cache. */
  get cacheLength(): number {
    return this.#computed;
  }

  get phase(): 'prefill' | 'decode' {
    return this.#computed < this.request.promptTokens ? 'prefill' : 'decode';
  }

  /** Rows that may go into the next batch; a batch never spans the end of the prompt, where sampling starts. */
  get pendingRows(): number {
    const end = this.phase === 'prefill' ? this.request.promptTokens : Infinity;
    return Math.min(this.#received, end) - this.#computed;
  }

  /** @throws SkeinError `bad-frame` for a gap, an overlap or rows past the reservation. */
  append(position: number, input: StageInput): void {
    const rows = rowsOf(input);
    const { promptTokens, maxTokens } = this.request;
    if (position !== this.#received) {
      throw new SkeinError(
        'bad-frame',
        `Rows at position ${position} came where ${this.#received} was next.`,
        {
          data: { position, expected: this.#received },
        },
      );
    }
    if (rows === 0 || position + rows > promptTokens + maxTokens) {
      throw new SkeinError(
        'bad-frame',
        `${rows} rows at position ${position} do not fit a request of ${promptTokens} + ${maxTokens} tokens.`,
      );
    }
    this.#pending.push(input);
    this.#received += rows;
  }

  /**
   * Takes the next `rowCount` pending rows out of the queue and counts them as computed.
   * @returns the pieces, in order.
   */
  take(rowCount: number): StageInput[] {
    const taken: StageInput[] = [];
    let missing = rowCount;
    while (missing > 0) {
      const first = this.#pending.shift();
      if (first === undefined)
        throw new SkeinError('internal', `${missing} rows were taken that never came.`);
      const [head, tail] = split(first, missing);
      taken.push(head);
      if (tail !== null) this.#pending.unshift(tail);
      missing -= rowsOf(head);
    }
    this.#computed += rowCount;
    return taken;
  }

  /** What the head does after a batch that takes the cache to `length` tokens: nothing until the prompt is complete. */
  headAt(length: number): HeadRequest {
    const { promptTokens, sampling } = this.request;
    return length < promptTokens ? { kind: 'none' } : { kind: 'sample', params: sampling };
  }
}

export function rowsOf(input: StageInput): number {
  return input.kind === 'tokens' ? input.tokenIds.length : input.rows;
}

function split(input: StageInput, rows: number): [StageInput, StageInput | null] {
  if (rowsOf(input) <= rows) return [input, null];
  if (input.kind === 'tokens') {
    const { kind, tokenIds } = input;
    return [
      { kind, tokenIds: tokenIds.subarray(0, rows) },
      { kind, tokenIds: tokenIds.subarray(rows) },
    ];
  }
  const { kind, values } = input;
  const end = (values.length / input.rows) * rows;
  return [
    { kind, rows, values: values.subarray(0, end) },
    { kind, rows: input.rows - rows, values: values.subarray(end) },
  ];
}

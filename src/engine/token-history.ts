import { constraintError } from '../protocol/constraint.ts';
import { SkeinError } from '../protocol/errors.ts';
import { BANNING_BIAS, hasPenalties } from '../protocol/sampling.ts';
import type { OpenRequest } from '../protocol/stage.ts';
import { bitCount, hasBit } from './bit-mask.ts';
import { ADJUSTMENT_FLAG, ADJUSTMENT_WORDS } from './kernels/sample-rows.ts';

/** What a request says about adjustments. */
export type HistoryRequest = Pick<OpenRequest, 'promptTokens' | 'stopTokenIds' | 'sampling' | 'history'>;

const NO_ADJUSTMENTS = new Uint32Array(0);
const FIRST_CAPACITY = 64;

/**
 * What penalties, biases and bans make of the logits of one request, at its last stage: counts the tokens that it samples, and keeps a
 * table of adjusted tokens of which a sampled token changes one entry.
 */
export class TokenHistory {
  readonly #request: HistoryRequest;
  readonly #bias: ReadonlyMap<number, number>;
  readonly #stopTokenIds: ReadonlySet<number>;
  readonly #prompt: ReadonlySet<number>;
  readonly #countsGenerated: boolean;
  readonly #generated = new Map<number, number>();
  /** Stop tokens are banned for tokens before this position. */
  readonly #banEnd: number;
  /** Where a token's entry is in the table. */
  readonly #entries = new Map<number, number>();
  #table = new Uint32Array(FIRST_CAPACITY * ADJUSTMENT_WORDS);
  #nextPosition: number;

  /** @throws SkeinError `bad-argument` for a bias or a history of tokens the model does not have, and when every token is banned. */
  constructor(request: HistoryRequest, vocabSize: number) {
    const { sampling, history, stopTokenIds, promptTokens } = request;
    checkTokens(
      'logitBias',
      sampling.logitBias.map(([id]) => id),
      vocabSize,
    );
    checkTokens('history', [...history.prompt, ...history.generated.map(([id]) => id)], vocabSize);
    this.#request = request;
    this.#bias = new Map(sampling.logitBias);
    // A model's list of stop tokens may go beyond the logits it has.
    this.#stopTokenIds = new Set(stopTokenIds.filter((id) => id < vocabSize));
    this.#prompt = new Set(sampling.repetitionPenalty === 1 ? [] : history.prompt);
    this.#countsGenerated = hasPenalties(sampling);
    this.#banEnd = promptTokens + sampling.minTokens;
    this.#nextPosition = promptTokens;
    if (this.#countsGenerated) for (const [id, count] of history.generated) this.#generated.set(id, count);
    const adjusted = [
      ...this.#bias.keys(),
      ...this.#prompt,
      ...this.#generated.keys(),
      ...(sampling.minTokens > 0 ? this.#stopTokenIds : []),
    ];
    for (const id of adjusted) this.#update(id);
    const banned = [...this.#entries.keys()].filter((id) => this.#isBanned(id));
    if (banned.length >= vocabSize) {
      throw new SkeinError(
        'bad-argument',
        `logitBias and minTokens ban all ${vocabSize} tokens of the model. Leave some.`,
        { data: { vocabSize } },
      );
    }
  }

  /**
   * @param position of the token that is sampled next.
   * @returns `ADJUSTMENT_WORDS` per token; valid until the next `add`.
   * @throws SkeinError `internal` when a token before it was not added.
   */
  adjustmentsAt(position: number): Uint32Array<ArrayBuffer> {
    if (position > this.#nextPosition) {
      throw new SkeinError(
        'internal',
        `A token is sampled at ${position}, and that at ${this.#nextPosition} was not counted.`,
      );
    }
    const hasOthers = this.#countsGenerated || this.#bias.size > 0;
    if (!hasOthers && position >= this.#banEnd) return NO_ADJUSTMENTS;
    return this.#table.subarray(0, this.#entries.size * ADJUSTMENT_WORDS);
  }

  /**
   * Where a mask says what may come: it goes before the least length of the answer, whose bans are left out where they and biases
   * would ban all that the mask leaves.
   * @param mask u32 [vocab / 32], rounded up, with a bit for each token that may be chosen.
   * @returns as `adjustmentsAt`.
   * @throws SkeinError `bad-argument` when biases ban all of it.
   */
  adjustmentsWithin(mask: Uint32Array, position: number): Uint32Array<ArrayBuffer> {
    const adjustments = this.adjustmentsAt(position);
    const banned = [...this.#entries.keys()].filter((id) => this.#isBanned(id) && hasBit(mask, id));
    if (adjustments.length === 0 || banned.length < bitCount(mask)) return adjustments;
    const tooEarly = banned.filter((id) => !this.#isBannedByBias(id));
    if (tooEarly.length === 0) {
      throw constraintError(
        `The constraint of the answer leaves ${banned.length} tokens at position ${position}, and logitBias bans all of them.`,
      );
    }
    const changed = adjustments.slice();
    for (const id of tooEarly) {
      const flags = this.#entryOf(id) * ADJUSTMENT_WORDS + 2;
      changed[flags] = (changed[flags] ?? 0) & ~ADJUSTMENT_FLAG.banned;
    }
    return changed;
  }

  /** Counts a sampled token, once: a position that was counted before is ignored. @throws SkeinError `internal` for a gap. */
  add(position: number, tokenId: number): void {
    if (position < this.#nextPosition) return;
    if (position > this.#nextPosition) {
      throw new SkeinError(
        'internal',
        `The token at ${position} was counted, and that at ${this.#nextPosition} not.`,
      );
    }
    this.#nextPosition += 1;
    if (this.#countsGenerated) {
      this.#generated.set(tokenId, (this.#generated.get(tokenId) ?? 0) + 1);
      this.#update(tokenId);
    }
    if (this.#nextPosition === this.#banEnd) for (const id of this.#stopTokenIds) this.#update(id);
  }

  #isBanned(tokenId: number): boolean {
    const isTooEarly = this.#nextPosition < this.#banEnd && this.#stopTokenIds.has(tokenId);
    return isTooEarly || this.#isBannedByBias(tokenId);
  }

  #isBannedByBias(tokenId: number): boolean {
    return (this.#bias.get(tokenId) ?? 0) <= BANNING_BIAS;
  }

  #update(tokenId: number): void {
    const { repetitionPenalty, presencePenalty, frequencyPenalty } = this.#request.sampling;
    const count = this.#generated.get(tokenId) ?? 0;
    const isRepeated = repetitionPenalty !== 1 && (count > 0 || this.#prompt.has(tokenId));
    const presence = count > 0 ? presencePenalty : 0;
    const addend = (this.#bias.get(tokenId) ?? 0) - presence - frequencyPenalty * count;
    const start = this.#entryOf(tokenId) * ADJUSTMENT_WORDS;
    this.#table[start] = tokenId;
    new DataView(this.#table.buffer).setFloat32((start + 1) * Uint32Array.BYTES_PER_ELEMENT, addend, true);
    this.#table[start + 2] =
      (isRepeated ? ADJUSTMENT_FLAG.repeated : 0) | (this.#isBanned(tokenId) ? ADJUSTMENT_FLAG.banned : 0);
  }

  #entryOf(tokenId: number): number {
    const known = this.#entries.get(tokenId);
    if (known !== undefined) return known;
    const entry = this.#entries.size;
    this.#entries.set(tokenId, entry);
    if (this.#entries.size * ADJUSTMENT_WORDS > this.#table.length) {
      const larger = new Uint32Array(2 * this.#table.length);
      larger.set(this.#table);
      this.#table = larger;
    }
    return entry;
  }
}

function checkTokens(field: string, tokenIds: readonly number[], vocabSize: number): void {
  const unknown = tokenIds.find((id) => id >= vocabSize);
  if (unknown === undefined) return;
  throw new SkeinError(
    'bad-argument',
    `${field} names token ${unknown}, and the model has tokens 0 to ${vocabSize - 1}.`,
    { data: { field, tokenId: unknown, vocabSize } },
  );
}

import type { RequestId } from '../protocol/ids.ts';
import { BLOCK_TOKENS } from './batch.ts';

/** What a sequence holds of the cache, and what it will want. */
export interface BlockHolding {
  readonly requestId: RequestId;
  /** Order of opening. Where blocks are short the older goes first; no two have the same. */
  readonly age: number;
  /** Whether it is given blocks as it goes; otherwise it has only its pinned ones, and waits to be admitted. */
  readonly isResident: boolean;
  /** Tokens in the cache: now, or right after admission. */
  readonly cacheLength: number;
  readonly heldBlocks: number;
  /** Tokens it is known to bring: the prompt, and what came after it. */
  readonly knownTokens: number;
  /** Whether its next row goes into a block that others hold too, so that it needs one of its own. */
  readonly writesShared: boolean;
  /** Blocks that preempting it would make free. */
  readonly soleBlocks: number;
  /**
   * Blocks that ending it would make free beside those: they were cached before it began, and this stage could not compute
   * them again, so they stay while it lives.
   */
  readonly solePinnedBlocks: number;
  /** For how long nothing of it could be computed; null while something can. */
  readonly idleMs: number | null;
}

export interface BlockLimits {
  /** Blocks that can be had now. */
  readonly freeBlocks: number;
  /** Idle for this long, a sequence gives its blocks to whoever can use them. */
  readonly idleHoldMs: number;
}

/** Idle for this many times `idleHoldMs`, a sequence is ended for the sake of blocks that cannot be computed again. */
export const PINNED_HOLD_FACTOR = 4;

/** Somebody who loses blocks, and whether it is ended for its pinned ones or only preempted. */
interface Victim {
  readonly holding: BlockHolding;
  readonly isEnded: boolean;
}

/**
 * Deals out the blocks of one batch, on paper. The older sequence goes first: it may take from younger ones, the youngest
 * first, so the oldest always progresses. Anybody may take from those that were idle for long: two stages on which
 * requests came in opposite orders would otherwise wait for each other for ever.
 */
export class BlockBudget {
  readonly preempted = new Set<RequestId>();
  readonly ended = new Set<RequestId>();
  #isShort = false;
  #free: number;
  readonly #reserved = new Map<RequestId, number>();
  readonly #admitted = new Set<RequestId>();

  constructor(
    private readonly holdings: readonly BlockHolding[],
    private readonly limits: BlockLimits,
  ) {
    this.#free = limits.freeBlocks;
  }

  /**
   * Reserves what the next `rowCount` rows of a sequence need, and admits it if it waits for that.
   * @returns who loses its blocks for it: what they had reserved is free again. Null when it cannot be; then nothing changes.
   */
  reserve(holding: BlockHolding, rowCount: number): RequestId[] | null {
    const victims: Victim[] = [];
    const candidates = this.#candidates(holding).values();
    while (!this.#suffices(holding, rowCount, victims)) {
      const candidate = candidates.next();
      if (candidate.done === true) {
        this.#isShort = true;
        return null;
      }
      victims.push(candidate.value);
    }
    this.#free += this.#freedBy(victims);
    for (const victim of victims) this.#takeFrom(victim);
    const blocks = newBlocks(holding, rowCount);
    this.#free -= blocks;
    this.#reserved.set(holding.requestId, blocks);
    if (!holding.isResident) this.#admitted.add(holding.requestId);
    return victims.map(({ holding: { requestId } }) => requestId);
  }

  /** When the next idle sequence will have been idle for long enough to give; null when nobody lacks blocks or none will. */
  get retryAfterMs(): number | null {
    if (!this.#isShort) return null;
    const { idleHoldMs } = this.limits;
    const waits = this.holdings.flatMap(({ idleMs, isResident, solePinnedBlocks }) => {
      if (idleMs === null) return [];
      return [
        isResident ? idleHoldMs - idleMs : 0,
        solePinnedBlocks > 0 ? idleHoldMs * PINNED_HOLD_FACTOR - idleMs : 0,
      ];
    });
    const ahead = waits.filter((waitMs) => waitMs > 0);
    return ahead.length > 0 ? Math.min(...ahead) : null;
  }

  #suffices(holding: BlockHolding, rowCount: number, victims: readonly Victim[]): boolean {
    const free = this.#free + this.#freedBy(victims);
    if (holding.isResident) return newBlocks(holding, rowCount) <= free;
    // All that is known, not only the next rows, and what older ones will want: whoever starts should be able to go on.
    const gone = new Set(victims.map((victim) => victim.holding));
    const older = this.holdings.filter(
      (other) => other.age < holding.age && this.#isResident(other) && !gone.has(other),
    );
    const promised = older.reduce((sum, other) => sum + this.#promisedTo(other), 0);
    return blocksOf(holding.knownTokens) - holding.heldBlocks + promised <= free;
  }

  #freedBy(victims: readonly Victim[]): number {
    return victims.reduce((sum, { holding, isEnded }) => {
      if (isEnded) return sum + holding.solePinnedBlocks;
      // One that was only just admitted on paper has no blocks yet but those that were reserved for it.
      const held = holding.isResident ? holding.soleBlocks : 0;
      return sum + held + (this.#reserved.get(holding.requestId) ?? 0);
    }, 0);
  }

  #takeFrom({ holding: { requestId, isResident }, isEnded }: Victim): void {
    if (isEnded) this.ended.add(requestId);
    else if (isResident) this.preempted.add(requestId);
    if (isEnded) this.preempted.delete(requestId);
    this.#reserved.delete(requestId);
    this.#admitted.delete(requestId);
  }

  /** The rest of its prompt, and a block to grow into. */
  #promisedTo({ requestId, knownTokens, heldBlocks }: BlockHolding): number {
    return 1 + Math.max(0, blocksOf(knownTokens) - heldBlocks - (this.#reserved.get(requestId) ?? 0));
  }

  /** Who may be taken from, in order. Whoever is ended was preempted first, if there was anything to it. */
  #candidates(holding: BlockHolding): Victim[] {
    const { idleHoldMs } = this.limits;
    const others = this.holdings.filter((other) => other !== holding && !this.ended.has(other.requestId));
    const isYounger = (other: BlockHolding) => other.age > holding.age;
    const isIdleFor = (other: BlockHolding, ms: number) =>
      !isYounger(other) && other.idleMs !== null && other.idleMs >= ms;
    const youngest = (a: BlockHolding, b: BlockHolding) => b.age - a.age;
    const longestIdle = (a: BlockHolding, b: BlockHolding) => (b.idleMs ?? 0) - (a.idleMs ?? 0);
    const residents = others.filter((other) => this.#isResident(other));
    const pinners = others.filter(({ solePinnedBlocks }) => solePinnedBlocks > 0);
    return [
      ...residents
        .filter((other) => isYounger(other) && this.#holdsMore(other))
        .sort(youngest)
        .map(preempt),
      ...residents
        // To whoever waits for admission, also what is only promised is in the way.
        .filter((other) => isIdleFor(other, idleHoldMs) && (!holding.isResident || this.#holdsMore(other)))
        .sort(longestIdle)
        .map(preempt),
      ...pinners.filter(isYounger).sort(youngest).map(end),
      ...pinners
        .filter((other) => isIdleFor(other, idleHoldMs * PINNED_HOLD_FACTOR))
        .sort(longestIdle)
        .map(end),
    ];
  }

  #isResident({ requestId, isResident }: BlockHolding): boolean {
    if (this.#admitted.has(requestId)) return true;
    return isResident && !this.preempted.has(requestId) && !this.ended.has(requestId);
  }

  #holdsMore({ requestId, isResident, soleBlocks }: BlockHolding): boolean {
    return (isResident && soleBlocks > 0) || (this.#reserved.get(requestId) ?? 0) > 0;
  }
}

/** Blocks that the next rows of a sequence take. */
function newBlocks({ cacheLength, heldBlocks, writesShared }: BlockHolding, rowCount: number): number {
  return Math.max(0, blocksOf(cacheLength + rowCount) - heldBlocks) + (writesShared ? 1 : 0);
}

function blocksOf(tokens: number): number {
  return Math.ceil(tokens / BLOCK_TOKENS);
}

function preempt(holding: BlockHolding): Victim {
  return { holding, isEnded: false };
}

function end(holding: BlockHolding): Victim {
  return { holding, isEnded: true };
}

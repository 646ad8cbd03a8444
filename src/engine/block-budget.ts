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
  /** Its blocks, in order of positions. */
  readonly blocks: readonly number[];
  /**
   * How many of them, from the first on, stay while it lives: they were cached before it began, and this stage could not
   * compute them again.
   */
  readonly pinnedBlocks: number;
  /** Tokens it is known to bring: the prompt, and what came after it. */
  readonly knownTokens: number;
  /** Whether its next row goes into a block that others hold too, so that it needs one of its own. */
  readonly writesShared: boolean;
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
  /** By block, how many hold it and have not lost it. Made when it is first needed, which mostly is never. */
  #holders: Map<number, number> | null = null;

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
    const waits = this.holdings.flatMap(({ idleMs, isResident, pinnedBlocks }) => {
      if (idleMs === null) return [];
      return [
        isResident ? idleHoldMs - idleMs : 0,
        pinnedBlocks > 0 ? idleHoldMs * PINNED_HOLD_FACTOR - idleMs : 0,
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
    return blocksOf(holding.knownTokens) - holding.blocks.length + promised <= free;
  }

  /** Blocks that nobody holds once these have given up theirs, and what had been reserved for them. */
  #freedBy(victims: readonly Victim[]): number {
    if (victims.length === 0) return 0;
    const holders = new Map<number, number>();
    let freed = 0;
    for (const victim of victims) {
      // Whoever is ended was preempted before, and its reservation counted then.
      if (!victim.isEnded) freed += this.#reserved.get(victim.holding.requestId) ?? 0;
      for (const block of givenUp(victim)) {
        const left = (holders.get(block) ?? this.#holdersOf(block)) - 1;
        holders.set(block, left);
        if (left === 0) freed += 1;
      }
    }
    return freed;
  }

  #takeFrom(victim: Victim): void {
    const { requestId, isResident } = victim.holding;
    for (const block of givenUp(victim)) this.#holders?.set(block, this.#holdersOf(block) - 1);
    if (victim.isEnded) this.ended.add(requestId);
    else if (isResident) this.preempted.add(requestId);
    if (victim.isEnded) this.preempted.delete(requestId);
    this.#reserved.delete(requestId);
    this.#admitted.delete(requestId);
  }

  #holdersOf(block: number): number {
    if (this.#holders === null) {
      this.#holders = new Map();
      for (const each of this.holdings.flatMap(({ blocks }) => blocks)) {
        this.#holders.set(each, (this.#holders.get(each) ?? 0) + 1);
      }
    }
    return this.#holders.get(block) ?? 0;
  }

  /** The rest of its prompt, and a block to grow into. */
  #promisedTo({ requestId, knownTokens, blocks }: BlockHolding): number {
    return 1 + Math.max(0, blocksOf(knownTokens) - blocks.length - (this.#reserved.get(requestId) ?? 0));
  }

  /** Who may be taken from, in order. Whoever is ended was preempted before that. */
  #candidates(holding: BlockHolding): Victim[] {
    const { idleHoldMs } = this.limits;
    const others = this.holdings.filter((other) => other !== holding && !this.ended.has(other.requestId));
    const isYounger = (other: BlockHolding) => other.age > holding.age;
    const isIdleFor = (other: BlockHolding, ms: number) =>
      !isYounger(other) && other.idleMs !== null && other.idleMs >= ms;
    const youngest = (a: BlockHolding, b: BlockHolding) => b.age - a.age;
    const longestIdle = (a: BlockHolding, b: BlockHolding) => (b.idleMs ?? 0) - (a.idleMs ?? 0);
    const residents = others.filter((other) => this.#isResident(other));
    const pinners = others.filter(({ pinnedBlocks }) => pinnedBlocks > 0);
    return [
      ...residents.filter(isYounger).sort(youngest).map(preempt),
      ...residents
        .filter((other) => isIdleFor(other, idleHoldMs))
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
}

/** Blocks that the next rows of a sequence take. */
function newBlocks({ cacheLength, blocks, writesShared }: BlockHolding, rowCount: number): number {
  return Math.max(0, blocksOf(cacheLength + rowCount) - blocks.length) + (writesShared ? 1 : 0);
}

/** Whoever is ended was preempted before, and has only the pinned ones left. */
function givenUp({ holding: { blocks, pinnedBlocks }, isEnded }: Victim): readonly number[] {
  return isEnded ? blocks.slice(0, pinnedBlocks) : blocks.slice(pinnedBlocks);
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

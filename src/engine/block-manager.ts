import { SkeinError } from '../protocol/errors.ts';
import { BLOCK_TOKENS } from './batch.ts';
import type { BlockCopy } from './batch.ts';

/** The cache blocks of one sequence, in order of its positions. Only the manager that made it changes it. */
export interface BlockTable {
  readonly blocks: readonly number[];
}

/**
 * Owns the cache blocks of a slice: who holds them, which of them can be found again by keys of their tokens, and which
 * of those make room first. Pure bookkeeping: nothing is computed or copied here.
 *
 * A block is free, held by one or more tables, or idle: held by nobody, but keyed, so that a later table may find it. Idle
 * blocks count as free, and are forgotten in the order in which they became idle.
 */
export class BlockManager {
  readonly #references: Uint32Array;
  /** Of each block; mostly one, and more where scopes share it. */
  readonly #keys: Set<string>[];
  readonly #byKey = new Map<string, number>();
  readonly #free: number[];
  /** Keyed blocks that nobody holds; the one to forget first comes first. */
  readonly #idle = new Set<number>();
  readonly #tables = new Map<BlockTable, number[]>();

  constructor(readonly blockCount: number) {
    this.#references = new Uint32Array(blockCount);
    this.#keys = Array.from({ length: blockCount }, () => new Set());
    this.#free = Array.from({ length: blockCount }, (_, index) => blockCount - 1 - index);
  }

  /** Blocks that can be had now; idle ones are forgotten for it. */
  get freeCount(): number {
    return this.#free.length + this.#idle.size;
  }

  /** Keys by which blocks can be found, held or idle. */
  get keyedCount(): number {
    return this.#byKey.size;
  }

  /** A table that begins with the blocks of the leading keys, as far as they are all here; it holds them from now on. */
  open(keys: readonly string[] = []): BlockTable {
    const blocks: number[] = [];
    const table: BlockTable = { blocks };
    this.#tables.set(table, blocks);
    this.attach(table, keys);
    return table;
  }

  /** Adds the blocks of the leading keys at the end of a table, as far as they are all here. */
  attach(table: BlockTable, keys: readonly string[]): void {
    const blocks = this.#blocksOf(table);
    for (const key of keys) {
      const block = this.#byKey.get(key);
      if (block === undefined) return;
      this.#hold(block);
      blocks.push(block);
    }
  }

  /** How many leading keys `open` would find. */
  find(keys: readonly string[]): number {
    const missing = keys.findIndex((key) => !this.#byKey.has(key));
    return missing === -1 ? keys.length : missing;
  }

  /**
   * A table that shares every block of another, until one of them writes: what a second answer to the same prompt begins with.
   * No request asks for that so far; the executor makes the copies that writing then takes.
   */
  fork(table: BlockTable): BlockTable {
    const fork = this.open();
    for (const block of this.#blocksOf(table)) {
      this.#hold(block);
      this.#blocksOf(fork).push(block);
    }
    return fork;
  }

  /** Blocks that `extend` would take for the same range. */
  blocksNeeded(table: BlockTable, firstToken: number, endToken: number): number {
    const blocks = this.#blocksOf(table);
    const shared = this.#written(blocks, firstToken, endToken).filter((index) =>
      this.#isShared(blocks, index),
    );
    return Math.max(0, blocksOf(endToken) - blocks.length) + shared.length;
  }

  /**
   * Makes the positions `[firstToken, endToken)` of a table writable: adds blocks at its end, and replaces those in the range
   * that others hold too.
   * @param firstToken at most one past the last position the table has blocks for.
   * @returns the copies to be made before anything is written: only a replaced block that keeps tokens in front of
   * `firstToken` needs one.
   * @throws SkeinError `busy` when there are too few blocks; then nothing has changed.
   */
  extend(table: BlockTable, firstToken: number, endToken: number): BlockCopy[] {
    const blocks = this.#blocksOf(table);
    if (firstToken > blocks.length * BLOCK_TOKENS || firstToken > endToken) {
      throw new SkeinError(
        'internal',
        `Positions ${firstToken} to ${endToken} do not follow a table of ${blocks.length} blocks.`,
      );
    }
    const needed = this.blocksNeeded(table, firstToken, endToken);
    if (needed > this.freeCount) {
      throw new SkeinError(
        'busy',
        `The cache has ${this.freeCount} of ${this.blockCount} blocks free and ${needed} are needed. Try again when another request ends.`,
        { data: { free: this.freeCount, needed } },
      );
    }
    const copies: BlockCopy[] = [];
    for (const index of this.#written(blocks, firstToken, endToken)) {
      const from = blocks[index] ?? 0;
      if (!this.#isShared(blocks, index)) {
        // What its keys name is about to be overwritten.
        this.#forgetKeys(from);
        continue;
      }
      const to = this.#take();
      this.#letGo(from);
      blocks[index] = to;
      if (index * BLOCK_TOKENS < firstToken) copies.push({ from, to });
    }
    while (blocks.length < blocksOf(endToken)) blocks.push(this.#take());
    return copies;
  }

  /** Gives up all but the first `count` blocks of a table. What stays is never copied. */
  cut(table: BlockTable, count: number): void {
    const blocks = this.#blocksOf(table);
    this.#letGoAll(blocks.splice(count));
  }

  /** Gives up a table. What was keyed can still be found, until its room is needed. */
  close(table: BlockTable): void {
    this.#letGoAll(this.#blocksOf(table));
    this.#tables.delete(table);
  }

  /**
   * Names a block that holds all its tokens, so that `open` finds it. Where the key has a block already, that stays: either is
   * as good. A block may have several names.
   */
  register(table: BlockTable, index: number, key: string): void {
    const block = this.#blocksOf(table)[index];
    if (block === undefined) throw new SkeinError('internal', `A table has no block ${index} to register.`);
    if (this.#byKey.has(key)) return;
    this.#byKey.set(key, block);
    this.#keys[block]?.add(key);
  }

  /** Blocks cannot be found by these keys any more; whoever holds them keeps them. Unknown keys are ignored. */
  forget(keys: readonly string[]): void {
    for (const key of keys) {
      const block = this.#byKey.get(key);
      if (block === undefined) continue;
      this.#byKey.delete(key);
      this.#keys[block]?.delete(key);
      if (!this.#hasKey(block) && this.#idle.delete(block)) this.#free.push(block);
    }
  }

  /** Forgets idle blocks, the longest idle first. Evicting 0, or more than there are, is safe. @returns how many. */
  evict(count: number): number {
    let evicted = 0;
    for (const block of this.#idle) {
      if (evicted >= count) break;
      this.#idle.delete(block);
      this.#forgetKeys(block);
      this.#free.push(block);
      evicted += 1;
    }
    return evicted;
  }

  #blocksOf(table: BlockTable): number[] {
    const blocks = this.#tables.get(table);
    if (blocks === undefined) throw new SkeinError('internal', 'A block table was used after it was closed.');
    return blocks;
  }

  /** Indices of the blocks a table has already in a range that is to be written. */
  #written(blocks: readonly number[], firstToken: number, endToken: number): number[] {
    const first = Math.floor(firstToken / BLOCK_TOKENS);
    const end = Math.min(blocks.length, blocksOf(endToken));
    return Array.from({ length: Math.max(0, end - first) }, (_, offset) => first + offset);
  }

  #isShared(blocks: readonly number[], index: number): boolean {
    return (this.#references[blocks[index] ?? 0] ?? 0) > 1;
  }

  /** The caller has seen to it that one is free. */
  #take(): number {
    if (this.#free.length === 0) this.evict(1);
    const block = this.#free.pop();
    if (block === undefined) throw new SkeinError('internal', 'A cache block was taken and none is free.');
    this.#references[block] = 1;
    return block;
  }

  #hold(block: number): void {
    this.#references[block] = (this.#references[block] ?? 0) + 1;
    this.#idle.delete(block);
  }

  /** Ends go first: without what is in front of it, a block cannot be found. */
  #letGoAll(blocks: readonly number[]): void {
    for (const block of [...blocks].reverse()) this.#letGo(block);
  }

  #letGo(block: number): void {
    const references = this.#references[block] ?? 0;
    if (references === 0)
      throw new SkeinError('internal', `Cache block ${block} was given up by nobody's table.`);
    this.#references[block] = references - 1;
    if (references > 1) return;
    if (this.#hasKey(block)) this.#idle.add(block);
    else this.#free.push(block);
  }

  #hasKey(block: number): boolean {
    return (this.#keys[block]?.size ?? 0) > 0;
  }

  #forgetKeys(block: number): void {
    const keys = this.#keys[block];
    for (const key of keys ?? []) this.#byKey.delete(key);
    keys?.clear();
  }
}

function blocksOf(tokens: number): number {
  return Math.ceil(tokens / BLOCK_TOKENS);
}

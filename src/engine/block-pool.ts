import { SkeinError } from '../protocol/errors.ts';

/** Hands out the cache blocks of a slice. Every block has one owner at a time. */
export class BlockPool {
  readonly #free: number[];
  readonly #owned: boolean[];

  constructor(readonly blockCount: number) {
    this.#free = Array.from({ length: blockCount }, (_, index) => blockCount - 1 - index);
    this.#owned = new Array<boolean>(blockCount).fill(false);
  }

  get freeCount(): number {
    return this.#free.length;
  }

  /** @throws SkeinError `busy` when fewer than `count` blocks are free; then nothing is taken. */
  allocate(count: number): number[] {
    if (count > this.#free.length) {
      throw new SkeinError(
        'busy',
        `The cache has ${this.#free.length} of ${this.blockCount} blocks free and the request needs ${count}. Try again when another request ends.`,
        { data: { free: this.#free.length, needed: count } },
      );
    }
    const blocks = this.#free.splice(this.#free.length - count, count).reverse();
    for (const block of blocks) this.#owned[block] = true;
    return blocks;
  }

  /** @throws SkeinError `internal` for a block that is not in use: a double release would give it to two sequences. */
  release(blocks: readonly number[]): void {
    for (const block of blocks) {
      if (!this.#owned[block])
        throw new SkeinError('internal', `Cache block ${block} was released while free.`);
      this.#owned[block] = false;
      this.#free.push(block);
    }
  }
}

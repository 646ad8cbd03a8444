import { BLOCK_TOKENS } from '../../../src/protocol/stage.ts';

/** A cache block as the model sees it: no number, but what it really holds. */
export interface ModelBlock {
  /** Token ids; undefined where nothing was written yet. */
  readonly tokens: (number | undefined)[];
  readonly keys: Set<string>;
  references: number;
}

/** What BlockManager ought to do, as plainly as possible: no numbers for blocks, no indices, everything searched for. */
export class BlockModel {
  /** Keyed and held by nobody; the first is forgotten first. */
  idle: ModelBlock[] = [];
  /** Every block that is held or idle. */
  #known: ModelBlock[] = [];

  constructor(readonly blockCount: number) {}

  get freeCount(): number {
    return this.blockCount - this.#known.filter(({ references }) => references > 0).length;
  }

  get keyedCount(): number {
    return this.#known.reduce((sum, { keys }) => sum + keys.size, 0);
  }

  open(keys: readonly string[]): ModelBlock[] {
    const found: ModelBlock[] = [];
    for (const key of keys) {
      const block = this.#find(key);
      if (block === undefined) break;
      found.push(block);
    }
    return this.fork(found);
  }

  fork(table: readonly ModelBlock[]): ModelBlock[] {
    for (const block of table) {
      block.references += 1;
      this.idle = this.idle.filter((other) => other !== block);
    }
    return [...table];
  }

  /** @returns null when there is no room. */
  write(table: ModelBlock[], firstToken: number, tokens: readonly number[]): ModelBlock[] | null {
    const first = Math.floor(firstToken / BLOCK_TOKENS);
    const count = Math.ceil((firstToken + tokens.length) / BLOCK_TOKENS);
    const shared = table.slice(first, count).filter(({ references }) => references > 1).length;
    const needed = Math.max(0, count - table.length) + shared;
    if (needed > this.freeCount) return null;
    const written = [...table];
    for (let index = first; index < count; index++) {
      const old = written[index];
      if (old?.references === 1) {
        old.keys.clear();
        continue;
      }
      const block = { tokens: [...(old?.tokens ?? [])], keys: new Set<string>(), references: 1 };
      this.#make(block);
      if (old) old.references -= 1;
      written[index] = block;
    }
    tokens.forEach((token, offset) => {
      const position = firstToken + offset;
      const block = written[Math.floor(position / BLOCK_TOKENS)];
      if (block) block.tokens[position % BLOCK_TOKENS] = token;
    });
    return written;
  }

  letGo(blocks: readonly ModelBlock[]): void {
    for (const block of [...blocks].reverse()) {
      block.references -= 1;
      if (block.references > 0) continue;
      if (block.keys.size === 0) this.#known = this.#known.filter((other) => other !== block);
      else this.idle.push(block);
    }
  }

  register(block: ModelBlock, key: string): void {
    if (this.#find(key) === undefined) block.keys.add(key);
  }

  forget(key: string): void {
    const block = this.#find(key);
    if (block === undefined) return;
    block.keys.delete(key);
    if (block.references === 0 && block.keys.size === 0) this.#drop(block);
  }

  evict(count: number): number {
    const evicted = this.idle.slice(0, count);
    evicted.forEach((block) => this.#drop(block));
    return evicted.length;
  }

  #find(key: string): ModelBlock | undefined {
    return this.#known.find(({ keys }) => keys.has(key));
  }

  #make(block: ModelBlock): void {
    if (this.#known.length === this.blockCount) this.evict(1);
    this.#known.push(block);
  }

  #drop(block: ModelBlock): void {
    this.idle = this.idle.filter((other) => other !== block);
    this.#known = this.#known.filter((other) => other !== block);
  }
}

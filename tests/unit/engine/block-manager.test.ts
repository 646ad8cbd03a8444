import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockManager } from '../../../src/engine/block-manager.ts';
import type { BlockTable } from '../../../src/engine/block-manager.ts';
import { BLOCK_TOKENS } from '../../../src/protocol/stage.ts';
import { BlockModel } from './block-model.ts';
import type { ModelBlock } from './block-model.ts';

/** A sequence on both sides: what it has written, and the tables that are to hold it. */
interface Pair {
  tokens: number[];
  readonly table: BlockTable;
  blocks: ModelBlock[];
}

/** The manager beside its model, and a memory in which block numbers really hold something. */
class Bench {
  readonly manager: BlockManager;
  readonly model: BlockModel;
  readonly pairs: Pair[] = [];
  evictions = 0;
  copies = 0;
  hits = 0;
  readonly #memory: (number | undefined)[];

  constructor(blockCount: number) {
    this.manager = new BlockManager(blockCount);
    this.model = new BlockModel(blockCount);
    this.#memory = new Array<number | undefined>(blockCount * BLOCK_TOKENS).fill(undefined);
  }

  /** Opens with the keys of a text, takes what is found of it. */
  open(text: readonly number[]): void {
    const keys = keysOf(text, text.length % 3 === 0 ? 'besides' : '');
    const found = this.manager.find(keys);
    const table = this.manager.open(keys);
    const blocks = this.model.open(keys);
    expect(table.blocks.length).toBe(found);
    expect(table.blocks.length).toBe(blocks.length);
    this.hits += blocks.length;
    this.pairs.push({ tokens: text.slice(0, blocks.length * BLOCK_TOKENS), table, blocks });
  }

  extend(pair: Pair, tokens: readonly number[]): void {
    const first = pair.tokens.length;
    const keyed = this.manager.keyedCount;
    const needed = this.manager.blocksNeeded(pair.table, first, first + tokens.length);
    const written = this.model.write(pair.blocks, first, tokens);
    if (written === null) {
      const before = [...pair.table.blocks];
      expect(needed).toBeGreaterThan(this.manager.freeCount);
      expect(() => this.manager.extend(pair.table, first, first + tokens.length)).toThrow(
        expect.objectContaining({ code: 'busy' }),
      );
      expect(pair.table.blocks).toEqual(before);
      return;
    }
    expect(needed).toBeLessThanOrEqual(this.manager.freeCount);
    const copies = this.manager.extend(pair.table, first, first + tokens.length);
    for (const { from, to } of copies) {
      this.#memory.copyWithin(to * BLOCK_TOKENS, from * BLOCK_TOKENS, (from + 1) * BLOCK_TOKENS);
    }
    this.copies += copies.length;
    this.evictions += Math.max(0, keyed - this.manager.keyedCount);
    pair.blocks = written;
    tokens.forEach((token, offset) => (this.#memory[this.#slot(pair.table, first + offset)] = token));
    pair.tokens = [...pair.tokens, ...tokens];
  }

  fork(pair: Pair): void {
    this.pairs.push({
      tokens: pair.tokens,
      table: this.manager.fork(pair.table),
      blocks: this.model.fork(pair.blocks),
    });
  }

  /** Goes back to an earlier position, in the middle of a block too, so that what follows is written over. */
  rewind(pair: Pair, tokenCount: number): void {
    pair.tokens = pair.tokens.slice(0, tokenCount);
    const kept = Math.ceil(tokenCount / BLOCK_TOKENS);
    this.manager.cut(pair.table, kept);
    this.model.letGo(pair.blocks.splice(kept));
  }

  register(pair: Pair): void {
    // Some have a second name.
    for (const scope of pair.tokens.length % 2 === 0 ? ['', 'besides'] : ['']) {
      keysOf(pair.tokens, scope).forEach((key, index) => {
        const block = pair.blocks[index];
        if (block) this.model.register(block, key);
        this.manager.register(pair.table, index, key);
      });
    }
  }

  close(pair: Pair): void {
    this.pairs.splice(this.pairs.indexOf(pair), 1);
    this.manager.close(pair.table);
    this.model.letGo(pair.blocks);
  }

  evict(count: number): void {
    expect(this.manager.evict(count)).toBe(this.model.evict(count));
  }

  forget(text: readonly number[]): void {
    const keys = keysOf(text).slice(-1);
    this.manager.forget(keys);
    keys.forEach((key) => this.model.forget(key));
  }

  /** Everything both sides can say of themselves. */
  expectAgreement(): void {
    expect(this.manager.freeCount).toBe(this.model.freeCount);
    expect(this.manager.keyedCount).toBe(this.model.keyedCount);
    // Compared without a matcher for each: this runs some hundred thousand times.
    const wrong = this.pairs.find(
      ({ tokens, table, blocks }) =>
        table.blocks.length !== blocks.length ||
        tokens.some((token, position) => this.#memory[this.#slot(table, position)] !== token),
    );
    expect(wrong).toBe(undefined);
  }

  #slot({ blocks }: BlockTable, position: number): number {
    const block = blocks[Math.floor(position / BLOCK_TOKENS)];
    if (block === undefined) throw new Error(`no block holds position ${position}`);
    return block * BLOCK_TOKENS + (position % BLOCK_TOKENS);
  }
}

/** The key of a block is everything up to its end, in a scope. */
function keysOf(tokens: readonly number[], scope = ''): string[] {
  const count = Math.floor(tokens.length / BLOCK_TOKENS);
  return Array.from(
    { length: count },
    (_, index) => scope + tokens.slice(0, (index + 1) * BLOCK_TOKENS).join(),
  );
}

type Step =
  | { readonly kind: 'open'; readonly text: number; readonly length: number }
  | { readonly kind: 'extend'; readonly pick: number; readonly length: number; readonly text: number }
  | { readonly kind: 'fork' | 'register' | 'close' | 'abort'; readonly pick: number }
  | { readonly kind: 'rewind'; readonly pick: number; readonly percent: number }
  | { readonly kind: 'evict'; readonly count: number }
  | { readonly kind: 'forget'; readonly pick: number };

const pick = fc.nat(1000);
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('open' as const), text: fc.nat(2), length: fc.nat(90) }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('extend' as const), pick, length: fc.nat(40), text: fc.nat(2) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('fork' as const), pick }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('register' as const), pick }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('close' as const, 'abort' as const), pick }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('rewind' as const),
      pick,
      percent: fc.nat(100),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('evict' as const), count: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('forget' as const), pick }) },
);

/** Few texts, so that sequences meet each other's blocks. */
function textToken(text: number, position: number): number {
  return position < 20 ? position : text * 1000 + position;
}

function take(bench: Bench, step: Step): void {
  const chosen = 'pick' in step ? bench.pairs[step.pick % Math.max(1, bench.pairs.length)] : undefined;
  switch (step.kind) {
    case 'open':
      bench.open(Array.from({ length: step.length }, (_, position) => textToken(step.text, position)));
      break;
    case 'extend':
      if (chosen) {
        const first = chosen.tokens.length;
        bench.extend(
          chosen,
          Array.from({ length: step.length }, (_, offset) => textToken(step.text, first + offset)),
        );
      }
      break;
    case 'fork':
      if (chosen) bench.fork(chosen);
      break;
    case 'rewind':
      if (chosen) bench.rewind(chosen, Math.floor((chosen.tokens.length * step.percent) / 100));
      break;
    case 'register':
      if (chosen) bench.register(chosen);
      break;
    case 'close':
      if (chosen) {
        bench.register(chosen);
        bench.close(chosen);
      }
      break;
    case 'abort':
      if (chosen) bench.close(chosen);
      break;
    case 'evict':
      bench.evict(step.count);
      break;
    case 'forget':
      if (chosen) bench.forget(chosen.tokens);
      break;
  }
}

describe('BlockManager', () => {
  it('agrees with a plain model at each of more than 10,000 random steps, and leaks no block', () => {
    const total = { steps: 0, evictions: 0, copies: 0, hits: 0 };
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 24 }),
        fc.array(steps, { minLength: 150, maxLength: 250 }),
        (blockCount, sequence) => {
          const bench = new Bench(blockCount);
          for (const step of sequence) {
            take(bench, step);
            bench.expectAgreement();
          }
          for (const pair of [...bench.pairs]) bench.close(pair);
          bench.expectAgreement();
          expect(bench.manager.freeCount).toBe(blockCount);
          bench.evict(blockCount);
          expect(bench.manager.keyedCount).toBe(0);
          const all = bench.manager.open();
          bench.manager.extend(all, 0, blockCount * BLOCK_TOKENS);
          expect(new Set(all.blocks)).toEqual(
            new Set(Array.from({ length: blockCount }, (_, block) => block)),
          );
          total.steps += sequence.length;
          total.evictions += bench.evictions;
          total.copies += bench.copies;
          total.hits += bench.hits;
        },
      ),
      { numRuns: 60 },
    );
    // A run in which the interesting things did not happen proves nothing about them.
    expect(total.steps).toBeGreaterThan(10_000);
    expect(total.evictions).toBeGreaterThan(50);
    expect(total.copies).toBeGreaterThan(50);
    expect(total.hits).toBeGreaterThan(200);
  }, 60_000);

  it('says busy with the numbers, and changes nothing then', () => {
    const manager = new BlockManager(4);
    const table = manager.open();
    manager.extend(table, 0, 3 * BLOCK_TOKENS);
    expect(() => manager.extend(manager.open(), 0, 2 * BLOCK_TOKENS)).toThrow(
      /1 of 4 blocks free and 2 are needed/,
    );
    expect(manager.freeCount).toBe(1);
  });

  it('forgets the end of a chain before its beginning, and the longest idle chain first', () => {
    const manager = new BlockManager(4);
    const chain = (name: string) => [`${name}0`, `${name}1`];
    for (const name of ['a', 'b']) {
      const table = manager.open();
      manager.extend(table, 0, 2 * BLOCK_TOKENS);
      chain(name).forEach((key, index) => manager.register(table, index, key));
      manager.close(table);
    }
    manager.close(manager.open(chain('a')));
    expect(manager.evict(1)).toBe(1);
    expect([manager.find(chain('a')), manager.find(chain('b'))]).toEqual([2, 1]);
    expect(manager.evict(2)).toBe(2);
    expect([manager.find(chain('a')), manager.find(chain('b'))]).toEqual([1, 0]);
    expect(manager.evict(0)).toBe(0);
    expect(manager.evict(9)).toBe(1);
    expect(manager.freeCount).toBe(4);
  });

  it('copies a shared block only when it is written in the middle', () => {
    const manager = new BlockManager(8);
    const table = manager.open();
    manager.extend(table, 0, 20);
    const [first, second] = table.blocks;
    const fork = manager.fork(table);
    expect(manager.extend(fork, 20, 21)).toEqual([{ from: second, to: fork.blocks[1] }]);
    expect(fork.blocks[0]).toBe(first);
    expect(manager.extend(table, 20, 40)).toEqual([]);
    const whole = manager.fork(table);
    manager.cut(whole, 1);
    expect(manager.extend(whole, BLOCK_TOKENS, 20)).toEqual([]);
    expect(whole.blocks[1]).not.toBe(second);
    expect(manager.extend(manager.fork(whole), BLOCK_TOKENS, 20)).toEqual([]);
  });

  it('gives a name to one block, and a block as many as it is given', () => {
    const manager = new BlockManager(4);
    const tables = [manager.open(), manager.open()];
    for (const table of tables) manager.extend(table, 0, BLOCK_TOKENS);
    const [first, second] = tables;
    if (!first || !second) throw new Error('two tables');
    manager.register(first, 0, 'a');
    manager.register(first, 0, 'b');
    expect([manager.find(['a']), manager.find(['b'])]).toEqual([1, 1]);
    manager.register(second, 0, 'a');
    const third = manager.open(['a']);
    expect(third.blocks).toEqual(first.blocks);
    manager.close(second);
    expect([manager.keyedCount, manager.freeCount]).toEqual([2, 3]);
    manager.close(first);
    manager.close(third);
    manager.forget(['a']);
    expect([manager.find(['a']), manager.find(['b']), manager.freeCount]).toEqual([0, 1, 4]);
    expect(manager.evict(4)).toBe(1);
    expect(manager.keyedCount).toBe(0);
  });

  it('refuses a table that was closed and a range that leaves a hole', () => {
    const manager = new BlockManager(4);
    const table = manager.open();
    expect(() => manager.extend(table, 1, 2)).toThrow(expect.objectContaining({ code: 'internal' }));
    manager.close(table);
    expect(() => manager.close(table)).toThrow(expect.objectContaining({ code: 'internal' }));
    expect(() => manager.register(manager.open(), 0, 'key')).toThrow(
      expect.objectContaining({ code: 'internal' }),
    );
  });
});

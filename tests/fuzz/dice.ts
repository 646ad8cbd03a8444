import { Random } from '../sim/random.ts';

/** Choices that a seed decides. */
export class Dice extends Random {
  constructor(private readonly name: string) {
    super(name);
  }

  override fork(name: string): Dice {
    return new Dice(`${this.name}/${name}`);
  }

  /** A whole number in `[0, count)`. */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  /** A whole number in `[least, most]`. */
  whole(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** @param items at least one. */
  oneOf<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('There is nothing to choose from.');
    return item;
  }
}

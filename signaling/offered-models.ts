import type { ModelId } from '../src/protocol/ids.ts';
import type { ModelCard } from '../src/protocol/signaling.ts';

/** The models of a mesh, which come and go while it runs. */
export class OfferedModels {
  readonly #cards: ModelCard[];
  /** When the answers on a model that is being removed are to be over. */
  readonly #drainsEndMs = new Map<ModelId, number>();

  constructor(cards: readonly ModelCard[]) {
    this.#cards = [...cards];
  }

  /**
   * All that are computed here, those that are being removed too: the answers on them still need their layers. The same array for as
   * long as the server runs, with what there is at the moment in it.
   */
  get cards(): readonly ModelCard[] {
    return this.#cards;
  }

  /** As peers are told of them. */
  told(): ModelCard[] {
    return this.#cards.map((card) => (this.isDraining(card.id) ? { ...card, isDraining: true } : card));
  }

  has(model: ModelId): boolean {
    return this.#cards.some(({ id }) => id === model);
  }

  /** Whether it takes no new requests, because it is being removed. */
  isDraining(model: ModelId): boolean {
    return this.#drainsEndMs.has(model);
  }

  /** Those that are being removed, and when answers on them are to be over. */
  draining(): readonly (readonly [ModelId, endsMs: number])[] {
    return [...this.#drainsEndMs];
  }

  add(card: ModelCard): void {
    this.#cards.push(card);
  }

  drain(model: ModelId, endsMs: number): void {
    this.#drainsEndMs.set(model, endsMs);
  }

  remove(model: ModelId): void {
    this.#drainsEndMs.delete(model);
    const index = this.#cards.findIndex(({ id }) => id === model);
    if (index >= 0) this.#cards.splice(index, 1);
  }
}

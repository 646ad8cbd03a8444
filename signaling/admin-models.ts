import { SkeinError } from '../src/protocol/errors.ts';
import type { ModelId } from '../src/protocol/ids.ts';
import type { ModelCard } from '../src/protocol/signaling.ts';
import type { PresenceEvent } from './presence.ts';
import type { StaticRoot } from './static-files.ts';

/** Models of one mesh: the list is part of every welcome, which has to fit in a message. */
export const MAX_MODELS = 64;
/** Models that are looked at at the same time; each may read megabytes of headers. */
const MAX_ADDING = 4;
/** Failed attempts that are remembered, the last ones. */
const MAX_FAILED = 16;

/** A model as an operator names it, and what tabs are to make of it. */
export interface ModelWish extends Pick<ModelCard, 'quantization' | 'cache' | 'activations'> {
  /** A folder or GGUF file of the server's machine, a URL, or a hub id. */
  readonly location: string;
}

/** A model that can be served, and the folder it comes from when that is on this machine. */
export interface OpenedModel {
  readonly card: ModelCard;
  readonly root: StaticRoot | null;
}

/** A model that is served, and how it was asked for. */
export interface ServedWish extends OpenedModel {
  readonly wish: ModelWish;
}

/** A model as an operator is told of it. */
export type ModelListing =
  | (ModelWish & { readonly state: 'adding'; readonly attempt: number; readonly readBytes: number })
  | (ModelWish & { readonly state: 'failed'; readonly attempt: number; readonly error: string })
  | (ModelWish & {
      readonly state: 'offered' | 'draining';
      readonly id: ModelId;
      readonly layerCount: number;
      /** Whether every layer of it is served. */
      readonly isCovered: boolean;
      /** Answers under way. */
      readonly requests: number;
    });

export interface AdminModelsDeps {
  /** Offered from the start. */
  readonly served: readonly ServedWish[];
  /** @param onRead hears how much more was read of it. @throws SkeinError of a model that cannot be served. */
  readonly open: (
    wish: ModelWish,
    signal: AbortSignal,
    onRead: (bytes: number) => void,
  ) => Promise<ServedWish>;
  readonly mesh: {
    models(): readonly ModelCard[];
    covered(): readonly ModelId[];
    requestsOn(model: ModelId): number;
  };
  readonly change: (event: Extract<PresenceEvent, { type: 'model-added' | 'model-drained' }>) => void;
  /** Where files are looked for, in order; those of models that come and go are put there and taken away. */
  readonly roots: StaticRoot[];
  /** Hears what is offered, after every change of it; for who keeps it. */
  readonly onChange: (wishes: readonly ServedWish[]) => void;
}

type Attempt = Extract<ModelListing, { attempt: number }>;

/** Adds models to a mesh that runs, and takes them away. */
export class AdminModels {
  readonly #deps: AdminModelsDeps;
  readonly #served: Map<ModelId, ServedWish>;
  readonly #attempts = new Map<number, Attempt>();
  readonly #closed = new AbortController();
  #lastAttempt = 0;

  constructor(deps: AdminModelsDeps) {
    this.#deps = deps;
    this.#served = new Map(deps.served.map((served) => [served.card.id, served]));
  }

  list(): ModelListing[] {
    const { mesh } = this.#deps;
    const covered = mesh.covered();
    const models = mesh.models().flatMap(({ id, layerCount, isDraining }): ModelListing[] => {
      const wish = this.#served.get(id)?.wish;
      if (wish === undefined) return [];
      const state = isDraining === true ? 'draining' : 'offered';
      const requests = mesh.requestsOn(id);
      return [{ id, state, layerCount, isCovered: covered.includes(id), requests, ...wish }];
    });
    return [...models, ...this.#attempts.values()];
  }

  /**
   * Looks at a model and offers it. Goes on where nobody waits for the end of it.
   * @returns the attempt, by which `list` tells of it until it is offered.
   * @throws SkeinError `busy` for too many; `done` rejects with what is wrong with the model.
   */
  add(wish: ModelWish): { readonly attempt: number; readonly done: Promise<ModelId> } {
    const adding = [...this.#attempts.values()].filter(({ state }) => state === 'adding');
    if (adding.length >= MAX_ADDING) {
      throw new SkeinError('busy', `${MAX_ADDING} models are being added already. Wait for one of them.`);
    }
    const attempt = (this.#lastAttempt += 1);
    this.#attempts.set(attempt, { state: 'adding', attempt, readBytes: 0, ...wish });
    return { attempt, done: this.#open(attempt, wish) };
  }

  /**
   * Has a model drained: answers under way are finished, within so long.
   * @throws SkeinError `model-missing`.
   */
  drain(id: ModelId, limitMs: number): void {
    if (!this.#served.has(id)) {
      const names = [...this.#served.keys()].join(', ') || 'none';
      throw new SkeinError('model-missing', `There is no model ${id} here, only: ${names}.`);
    }
    this.#deps.change({ type: 'model-drained', model: id, limitMs });
    this.#tellChange();
  }

  /** To be called when a model that was drained is gone. */
  removed(id: ModelId): void {
    const root = this.#served.get(id)?.root;
    this.#served.delete(id);
    const { roots } = this.#deps;
    const index = root === null || root === undefined ? -1 : roots.indexOf(root);
    if (index >= 0) roots.splice(index, 1);
    this.#tellChange();
  }

  /** Nothing is added any more. */
  close(): void {
    this.#closed.abort();
  }

  async #open(attempt: number, wish: ModelWish): Promise<ModelId> {
    try {
      const served = await this.#deps.open(wish, this.#closed.signal, (bytes) => {
        const known = this.#attempts.get(attempt);
        if (known?.state === 'adding')
          this.#attempts.set(attempt, { ...known, readBytes: known.readBytes + bytes });
      });
      this.#closed.signal.throwIfAborted();
      this.#offer(served);
      this.#attempts.delete(attempt);
      return served.card.id;
    } catch (thrown) {
      const error = SkeinError.from(thrown);
      this.#attempts.set(attempt, { state: 'failed', attempt, error: error.message, ...wish });
      const failed = [...this.#attempts.values()].filter(({ state }) => state === 'failed');
      for (const old of failed.slice(0, -MAX_FAILED)) this.#attempts.delete(old.attempt);
      throw error;
    }
  }

  #offer(served: ServedWish): void {
    const { card, root } = served;
    if (this.#served.has(card.id)) {
      throw new SkeinError(
        'bad-argument',
        `There is a model ${card.id} here already. Remove it first, and wait until it is gone.`,
        { data: { isTaken: true } },
      );
    }
    if (this.#served.size >= MAX_MODELS) {
      throw new SkeinError('busy', `This mesh has ${MAX_MODELS} models. Remove one first.`);
    }
    this.#served.set(card.id, served);
    // Before the pages, whose folder has everything else.
    if (root !== null) this.#deps.roots.unshift(root);
    this.#deps.change({ type: 'model-added', card });
    this.#tellChange();
  }

  #tellChange(): void {
    const draining = new Set(
      this.#deps.mesh.models().flatMap(({ id, isDraining }) => (isDraining === true ? [id] : [])),
    );
    this.#deps.onChange([...this.#served.values()].filter(({ card }) => !draining.has(card.id)));
  }
}

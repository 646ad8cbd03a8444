import { SkeinError } from '../protocol/errors.ts';
import type { ModelCard } from '../protocol/signaling.ts';
import type { AssignedSlice, StageStats } from './contributor-state.ts';
import type { EngineKeeper } from './engine-keeper.ts';
import type { MeshSession } from '../mesh/mesh-session.ts';

/** @see ServerMessage `assign`. */
export interface Assignment {
  readonly turn?: number;
}

/** What happens to a stage, until it is dropped. */
export interface StageListener {
  /** Of the load. `totalBytes` is 0 until the sizes are known. */
  progress(loadedBytes: number, totalBytes: number): void;
  /** It answers frames. */
  serving(): void;
  /** About once a second from then on. */
  stats(stats: StageStats): void;
  /** It could not be loaded. */
  failed(error: SkeinError): void;
}

/** One assignment: loaded, then served, until it is dropped; from then on it says nothing any more. */
export class LentStage {
  readonly #dropped = new AbortController();

  /** @param assignment what the server said of it over the present connection; null when it knows nothing of it. */
  constructor(
    readonly slice: AssignedSlice,
    readonly card: ModelCard,
    readonly session: MeshSession,
    public assignment: Assignment | null,
  ) {}

  /** Never rejects. @param memoryBytes what the device has for weights and cache. */
  async load(engine: EngineKeeper, memoryBytes: number, listener: StageListener): Promise<void> {
    const { signal } = this.#dropped;
    const { layerStart, layerEnd } = this.slice;
    let isLoading = true;
    listener.progress(0, 0);
    try {
      await engine.load({
        model: this.card,
        layerStart,
        layerEnd,
        memoryBytes,
        transport: this.session.transport,
        signal,
        onProgress: (loadedBytes, totalBytes) => {
          if (!signal.aborted && isLoading) listener.progress(loadedBytes, totalBytes);
        },
        onStats: (stats) => {
          if (!signal.aborted) listener.stats(stats);
        },
      });
      isLoading = false;
      if (!signal.aborted) listener.serving();
    } catch (thrown) {
      if (!signal.aborted) listener.failed(SkeinError.from(thrown));
    }
  }

  /** Idempotent. What it holds is for others to free. */
  drop(): void {
    this.#dropped.abort();
  }

  /** The same layers, to be loaded anew: another slice to whoever counts what it does, since its engine counts from zero. */
  again(): LentStage {
    return new LentStage({ ...this.slice }, this.card, this.session, this.assignment);
  }
}

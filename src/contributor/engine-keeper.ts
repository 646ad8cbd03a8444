import type { Clock } from '../protocol/clock.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { Capability, ModelCard, SliceName } from '../protocol/signaling.ts';
import type { EngineHost, LoadOptions, MeasureOptions } from './engine-host.ts';
import { ENGINE_PING_TIMEOUT_MS } from './worker-engine-host.ts';

/** Before each rebuild of a window: a driver that was just reset is back at once, or needs a while; browsers wait with it. */
export const REBUILD_PAUSES_MS = [0, 2_000, 30_000] as const;
/** A device that is lost more often than this is broken, or has too little memory, and another try only costs time. */
export const MAX_REBUILDS = REBUILD_PAUSES_MS.length;
export const REBUILD_WINDOW_MS = 600_000;
/** A stage tells once a second what it did; one that says nothing for this long is asked whether it is alive. */
const ENGINE_SILENCE_MS = 5_000;

export interface EngineKeeperOptions {
  /** Makes a host that has not touched the GPU yet. */
  readonly createHost: () => EngineHost;
  readonly clock: Clock;
  /** The present host is of no use any more: `renew`, or `dispose`. */
  readonly onLost: (error: SkeinError) => void;
}

interface Watch {
  cancel: () => void;
}

/** The engine of one lending, over the loss of its device: a lost one is freed and another taken, a few times. */
export class EngineKeeper {
  readonly #options: EngineKeeperOptions;
  /** Null while one is replaced, and after `dispose`. */
  #host: EngineHost | null;
  #next: Promise<EngineHost>;
  /** When hosts were replaced, as far as it counts. */
  #renewals: number[] = [];
  #cancelPause: () => void = () => undefined;
  #watching: Watch | null = null;
  #isDisposed = false;

  constructor(options: EngineKeeperOptions) {
    this.#options = options;
    this.#host = this.#take();
    this.#next = Promise.resolve(this.#host);
  }

  measure(options: MeasureOptions): Promise<Capability> {
    return this.#host?.measure(options) ?? Promise.reject(disposedError());
  }

  cachedSlices(models: readonly ModelCard[]): SliceName[] {
    return this.#host?.cachedSlices(models) ?? [];
  }

  /** As `EngineHost.load`; waits for the next host while one is replaced. */
  async load(options: LoadOptions): Promise<void> {
    const host = this.#host ?? (await this.#next);
    options.signal.throwIfAborted();
    await host.load({
      ...options,
      onStats: (stats) => {
        if (!options.signal.aborted) this.#watch(host);
        options.onStats(stats);
      },
    });
    if (!options.signal.aborted) this.#watch(host);
  }

  unload(): void {
    this.#stopWatching();
    this.#host?.unload();
  }

  /** Whether the engine answers; one that does not is lost. While it is replaced nothing is served, and nothing hangs. */
  async isAlive(): Promise<boolean> {
    const host = this.#host;
    if (host === null || (await host.isAlive())) return true;
    if (this.#host === host) this.#options.onLost(hungError());
    return false;
  }

  /** Frees the present host and takes another. @returns false where that was done too often; then nothing changes. */
  renew(): boolean {
    const now = this.#options.clock.now();
    this.#renewals = this.#renewals.filter((atMs) => now - atMs < REBUILD_WINDOW_MS);
    const pauseMs = REBUILD_PAUSES_MS[this.#renewals.length];
    if (pauseMs === undefined) return false;
    this.#renewals.push(now);
    this.#stopWatching();
    const old = this.#host;
    this.#host = null;
    this.#next = this.#replace(old, pauseMs);
    // Whoever loads next hears of it; nobody may want to.
    this.#next.catch(() => undefined);
    return true;
  }

  /** Idempotent. */
  dispose(): void {
    this.#isDisposed = true;
    this.#stopWatching();
    this.#cancelPause();
    void this.#host?.dispose();
    this.#host = null;
  }

  /** The old one goes first: two at once may not fit into the memory. */
  async #replace(old: EngineHost | null, pauseMs: number): Promise<EngineHost> {
    await old?.dispose();
    if (pauseMs > 0 && !this.#isDisposed) {
      await new Promise<void>((resolve) => {
        const cancel = this.#options.clock.after(pauseMs, resolve);
        this.#cancelPause = () => {
          cancel();
          resolve();
        };
      });
    }
    if (this.#isDisposed) throw disposedError();
    this.#host = this.#take();
    return this.#host;
  }

  #take(): EngineHost {
    const host = this.#options.createHost();
    void host.lost.then((error) => {
      if (this.#host === host) this.#options.onLost(error);
    });
    return host;
  }

  /** Asks whether the host is alive whenever its stage was silent for too long, until `#stopWatching`. */
  #watch(host: EngineHost): void {
    if (this.#host !== host) return;
    this.#stopWatching();
    const watch: Watch = { cancel: () => undefined };
    this.#watching = watch;
    watch.cancel = this.#options.clock.after(ENGINE_SILENCE_MS, () => {
      // A page that slept wakes up to old timers: only who does not answer is lost.
      void this.isAlive().then((isAlive) => {
        if (isAlive && this.#watching === watch) this.#watch(host);
      });
    });
  }

  #stopWatching(): void {
    this.#watching?.cancel();
    this.#watching = null;
  }
}

function hungError(): SkeinError {
  return new SkeinError(
    'device-lost',
    `The engine did not answer for ${ENGINE_PING_TIMEOUT_MS / 1000} s, so it is started anew.`,
    { data: { reason: 'hung' } },
  );
}

function disposedError(): SkeinError {
  return new SkeinError('aborted', 'The engine was stopped.');
}

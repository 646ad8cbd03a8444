import { systemClock } from '../protocol/clock.ts';
import type { Clock } from '../protocol/clock.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { CachedSlice } from '../model/weight-cache.ts';
import type { Capability, ModelCard, SliceName } from '../protocol/signaling.ts';
import { stageCacheTokens } from '../protocol/slice-bytes.ts';
import type { EngineHost, LoadOptions, MeasureOptions } from './engine-host.ts';
import { bridgeTransport } from './port-bridge.ts';
import type { PortBridge } from './port-bridge.ts';
import type { WorkerCommand, WorkerEvent } from './worker-messages.ts';

/** Compiling and timing two kernels takes seconds even on a software GPU. */
const MEASURE_TIMEOUT_MS = 120_000;

/** A stage tells its requesters that it is gone; a worker that hangs does not get longer than this for it. */
export const GOODBYE_TIMEOUT_MS = 1_000;

/** A worker that does not answer a ping in this time hangs: no step of a stage keeps its worker from messages for as long. */
export const ENGINE_PING_TIMEOUT_MS = 2_000;

/** The part of `Worker` that is used, so that a test can put two ends of a channel here. */
export interface EnginePort {
  postMessage(command: WorkerCommand, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<WorkerEvent>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  /** @returns when the device is free, where that is known. */
  terminate(): void | Promise<void>;
}

interface Waiting {
  readonly onEvent: (event: WorkerEvent & { readonly operation: number }) => void;
  readonly reject: (error: SkeinError) => void;
}

export function startEngineWorker(): EnginePort {
  return new Worker(new URL('./engine-worker.ts', import.meta.url), { type: 'module', name: 'skein-engine' });
}

/** Runs the engine in a dedicated worker, so that the page never waits for the GPU. The page only forwards frames. */
export class WorkerEngineHost implements EngineHost {
  readonly lost: Promise<SkeinError>;
  readonly #worker: EnginePort;
  readonly #clock: Clock;
  /** Relative model URLs are relative to this. */
  readonly #baseUrl: string;
  readonly #waiting = new Map<number, Waiting>();
  #nextOperation = 0;
  /** Of the pings that wait for their answer, by nonce. */
  readonly #pings = new Map<number, () => void>();
  #nextPing = 0;
  #bridge: PortBridge | null = null;
  #cached: readonly CachedSlice[] = [];
  #disposed: Promise<void> | null = null;

  constructor(baseUrl: string, worker: EnginePort = startEngineWorker(), clock: Clock = systemClock) {
    this.#baseUrl = baseUrl;
    this.#worker = worker;
    this.#clock = clock;
    this.lost = new Promise((resolve) => {
      worker.onmessage = ({ data }) => {
        if (data.type === 'lost') resolve(SkeinError.fromShape(data.error));
        else if (data.type === 'cached') this.#cached = data.slices;
        else if (data.type === 'pong') this.#pings.get(data.nonce)?.();
        else this.#waiting.get(data.operation)?.onEvent(data);
      };
      worker.onerror = (event) => {
        const reason = event.message || 'its script could not be loaded';
        resolve(new SkeinError('internal', `The engine worker failed: ${reason}. Reload the page.`));
      };
    });
  }

  measure({ memoryLimitBytes, timesKernels = false, signal }: MeasureOptions): Promise<Capability> {
    const timeout = AbortSignal.timeout(MEASURE_TIMEOUT_MS);
    return this.#operate<Capability>({
      signal: AbortSignal.any([signal, timeout]),
      abortError: () =>
        timeout.aborted && !signal.aborted
          ? new SkeinError(
              'timeout',
              `Measuring the GPU took more than ${MEASURE_TIMEOUT_MS / 1000} s. Close what else uses it and start again.`,
            )
          : abortedError(),
      start: (operation) =>
        this.#worker.postMessage({ type: 'measure', operation, memoryLimitBytes, timesKernels }),
      onEvent: (event, resolve) => {
        if (event.type === 'measured') resolve(event.capability);
      },
    });
  }

  cachedSlices(models: readonly ModelCard[]): SliceName[] {
    return this.#cached.flatMap(({ modelUrl, layerStart, layerEnd }) => {
      const card = models.find(({ url }) => this.#absoluteUrl(url) === modelUrl);
      return card === undefined ? [] : [{ model: card.id, layerStart, layerEnd }];
    });
  }

  load(options: LoadOptions): Promise<void> {
    const { model, layerStart, layerEnd, memoryBytes, transport, signal, onProgress, onStats } = options;
    const { port1: pagePort, port2: frames } = new MessageChannel();
    this.#bridge?.detach();
    this.#bridge = bridgeTransport(transport, pagePort);
    const request = {
      modelUrl: this.#absoluteUrl(model.url),
      quantization: model.quantization,
      cache: model.cache,
      activations: model.activations,
      model: model.id,
      layerStart,
      layerEnd,
      self: transport.self,
      cacheTokens: stageCacheTokens(model, memoryBytes, { layerStart, layerEnd }),
    };
    return this.#operate<undefined>({
      signal,
      abortError: abortedError,
      start: (operation) => this.#worker.postMessage({ type: 'load', operation, request, frames }, [frames]),
      onEvent: (event, resolve) => {
        if (event.type === 'progress') onProgress(event.loadedBytes, event.totalBytes);
        else if (event.type === 'stats') onStats(event.stats);
        else if (event.type === 'loaded') resolve(undefined);
      },
    });
  }

  #absoluteUrl(url: string): string {
    return new URL(url, this.#baseUrl).href;
  }

  unload(): void {
    this.#bridge?.detach();
    this.#worker.postMessage({ type: 'unload' });
  }

  isAlive(): Promise<boolean> {
    const nonce = this.#nextPing++;
    return new Promise((resolve) => {
      const end = (isAlive: boolean) => {
        this.#pings.delete(nonce);
        cancelDeadline();
        resolve(isAlive);
      };
      const cancelDeadline = this.#clock.after(ENGINE_PING_TIMEOUT_MS, () => end(false));
      this.#pings.set(nonce, () => end(true));
      this.#worker.postMessage({ type: 'ping', nonce });
    });
  }

  dispose(): Promise<void> {
    if (this.#disposed === null) {
      this.#disposed = this.#terminate();
      for (const { reject } of this.#waiting.values()) reject(abortedError());
      this.#waiting.clear();
    }
    return this.#disposed;
  }

  /** The device goes with its worker. */
  async #terminate(): Promise<void> {
    if (this.#bridge !== null) {
      this.unload();
      let cancelDeadline: () => void = () => undefined;
      const deadline = new Promise<void>((resolve) => {
        cancelDeadline = this.#clock.after(GOODBYE_TIMEOUT_MS, resolve);
      });
      await Promise.race([this.#bridge.ended, deadline]);
      cancelDeadline();
    }
    await this.#worker.terminate();
  }

  #operate<Result>(operation: {
    readonly signal: AbortSignal;
    readonly abortError: () => SkeinError;
    readonly start: (id: number) => void;
    readonly onEvent: (event: WorkerEvent, resolve: (result: Result) => void) => void;
  }): Promise<Result> {
    const { signal, abortError, start, onEvent } = operation;
    if (this.#disposed !== null || signal.aborted) return Promise.reject(abortError());
    // A newer operation ends every older one in the worker: what those still say is not listened to.
    for (const { reject } of this.#waiting.values()) reject(abortedError());
    this.#waiting.clear();
    const id = this.#nextOperation++;
    return new Promise((resolve, reject) => {
      const cancel = () => {
        this.#waiting.delete(id);
        if (this.#disposed === null) this.#worker.postMessage({ type: 'cancel', operation: id });
        reject(abortError());
      };
      signal.addEventListener('abort', cancel, { once: true });
      this.#waiting.set(id, {
        reject,
        onEvent: (event) => {
          if (event.type === 'failed') reject(SkeinError.fromShape(event.error));
          onEvent(event, (result) => {
            resolve(result);
          });
        },
      });
      start(id);
    });
  }
}

function abortedError(): SkeinError {
  return new SkeinError('aborted', 'The engine stopped before it was done.');
}

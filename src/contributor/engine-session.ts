import { SkeinError } from '../protocol/errors.ts';
import type { Capability } from '../protocol/signaling.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import { PortTransport } from './port-transport.ts';
import { StatsMeter } from './stats-meter.ts';
import type { StageTotals } from './stats-meter.ts';
import type { StageRequest, WorkerCommand, WorkerEvent } from './worker-messages.ts';

/** A stage that answers frames. */
export interface RunningStage {
  readonly totals: StageTotals;
  /** Closes what it serves and frees the GPU memory. */
  dispose(): void;
}

export interface StageLoadContext {
  readonly transport: FrameTransport;
  readonly signal: AbortSignal;
  readonly onProgress: (loadedBytes: number, totalBytes: number) => void;
}

/** The GPU side, injected so that the order of events is tested without one. */
export interface EngineBackend {
  /** @param options.timesKernels whether the stages that follow time their kernels, where the GPU can. */
  measure(options: {
    memoryLimitBytes: number;
    timesKernels: boolean;
    signal: AbortSignal;
  }): Promise<Capability>;
  startStage(request: StageRequest, context: StageLoadContext): Promise<RunningStage>;
}

export const STATS_INTERVAL_MS = 1_000;

interface Operation {
  readonly id: number;
  readonly abort: AbortController;
}

/**
 * What the engine worker does with commands. At most one stage exists at a time: a newer `load` or an `unload`
 * cancels the one under way, and its memory is free before the next begins.
 */
export class EngineSession {
  readonly #backend: EngineBackend;
  readonly #emit: (event: WorkerEvent) => void;
  #current: Operation | null = null;
  #dispose: () => void = () => undefined;
  /** Settles when the operation before is over and its memory freed. Never rejects. */
  #previous: Promise<void> = Promise.resolve();

  constructor(backend: EngineBackend, emit: (event: WorkerEvent) => void) {
    this.#backend = backend;
    this.#emit = emit;
  }

  handle(command: WorkerCommand): void {
    switch (command.type) {
      case 'measure':
        this.#begin(command.operation, async (signal) => {
          signal.throwIfAborted();
          const capability = await this.#backend.measure({
            memoryLimitBytes: command.memoryLimitBytes,
            timesKernels: command.timesKernels ?? false,
            signal,
          });
          this.#emit({ type: 'measured', operation: command.operation, capability });
        });
        break;
      case 'load':
        this.#begin(command.operation, (signal) => this.#load(command, signal));
        break;
      case 'cancel':
        if (this.#current?.id === command.operation) this.#clear();
        break;
      case 'unload':
        this.#clear();
        break;
      case 'ping':
        this.#emit({ type: 'pong', nonce: command.nonce });
        break;
    }
  }

  /** Ends the present operation and starts another when it is over. */
  #begin(id: number, work: (signal: AbortSignal) => Promise<void>): void {
    this.#clear();
    const operation = { id, abort: new AbortController() };
    this.#current = operation;
    const { signal } = operation.abort;
    this.#previous = this.#previous.then(async () => {
      try {
        await work(signal);
      } catch (thrown) {
        this.#emit({ type: 'failed', operation: id, error: SkeinError.from(thrown).toShape() });
      }
    });
  }

  #clear(): void {
    this.#current?.abort.abort();
    this.#current = null;
    this.#dispose();
    this.#dispose = () => undefined;
  }

  async #load(
    { operation, request, frames }: Extract<WorkerCommand, { type: 'load' }>,
    signal: AbortSignal,
  ): Promise<void> {
    const transport = new PortTransport(request.self, frames);
    try {
      signal.throwIfAborted();
      const stage = await this.#backend.startStage(request, {
        transport,
        signal,
        onProgress: (loadedBytes, totalBytes) =>
          this.#emit({ type: 'progress', operation, loadedBytes, totalBytes }),
      });
      if (signal.aborted) {
        stage.dispose();
        signal.throwIfAborted();
      }
      const stopReports = this.#reportStats(operation, stage);
      this.#dispose = () => {
        stopReports();
        stage.dispose();
        transport.dispose();
      };
      this.#emit({ type: 'loaded', operation });
    } catch (thrown) {
      transport.dispose();
      throw thrown;
    }
  }

  #reportStats(operation: number, stage: RunningStage): () => void {
    const meter = new StatsMeter();
    const report = () =>
      this.#emit({ type: 'stats', operation, stats: meter.sample(stage.totals, performance.now()) });
    const timer = setInterval(report, STATS_INTERVAL_MS);
    return () => clearInterval(timer);
  }
}

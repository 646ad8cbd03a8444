import { EngineSession } from '../contributor/engine-session.ts';
import { GpuBackend } from '../contributor/gpu-backend.ts';
import type { KeptThings } from '../contributor/gpu-backend.ts';
import type { EnginePort } from '../contributor/worker-engine-host.ts';
import type { WorkerCommand, WorkerEvent } from '../contributor/worker-messages.ts';

/** The engine in this process: there is no page here that it could keep waiting. */
export class LocalEnginePort implements EnginePort {
  onmessage: ((event: MessageEvent<WorkerEvent>) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;
  /** Resolves when the stage has said its last words and the device is freed. */
  readonly terminated: Promise<void>;
  readonly #backend: GpuBackend;
  readonly #session: EngineSession;
  #end: () => void = () => undefined;

  constructor(gpu: GPU, kept: Omit<KeptThings, 'onCached'>) {
    this.terminated = new Promise((resolve) => (this.#end = resolve));
    const emit = (data: WorkerEvent) => this.onmessage?.(new MessageEvent('message', { data }));
    this.#backend = new GpuBackend(gpu, (error) => emit({ type: 'lost', error: error.toShape() }), {
      ...kept,
      onCached: (slices) => emit({ type: 'cached', slices }),
    });
    this.#session = new EngineSession(this.#backend, emit);
  }

  postMessage(command: WorkerCommand): void {
    this.#session.handle(command);
  }

  async terminate(): Promise<void> {
    this.onmessage = null;
    this.#session.handle({ type: 'unload' });
    await this.#backend.dispose();
    this.#end();
  }
}

import { WeightCache } from '../model/weight-cache.ts';
import { SkeinError } from '../protocol/errors.ts';
import { browserByteStore } from './browser-byte-store.ts';
import { EngineSession } from './engine-session.ts';
import { GpuBackend } from './gpu-backend.ts';
import { browserTuningStore } from './tuning-store.ts';
import type { WorkerCommand, WorkerEvent } from './worker-messages.ts';

/** The module a page starts as its engine worker. The GPU is not touched before the first command. */
const emit = (event: WorkerEvent) => self.postMessage(event);
const byteStore = browserByteStore();
const backend = new GpuBackend(navigator.gpu, (error) => emit({ type: 'lost', error: error.toShape() }), {
  tunings: browserTuningStore(),
  weights: byteStore && new WeightCache(byteStore),
  onCached: (slices) => emit({ type: 'cached', slices }),
});
const session = new EngineSession(backend, emit);

self.onmessage = (event: MessageEvent<WorkerCommand>) => session.handle(event.data);

// Whatever nobody caught is a bug: the page is told, and the person can start again.
self.addEventListener('unhandledrejection', (event) => {
  emit({ type: 'lost', error: SkeinError.from(event.reason).toShape() });
});

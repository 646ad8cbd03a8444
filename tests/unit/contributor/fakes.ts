import type { EngineHost, LoadOptions, MeasureOptions } from '../../../src/contributor/engine-host.ts';
import type { MeasuredTransport, MeshSession } from '../../../src/contributor/mesh-session.ts';
import type { SessionEvent } from '../../../src/mesh/session-events.ts';
import type { SkeinError } from '../../../src/protocol/errors.ts';
import type { ModelId, PeerId } from '../../../src/protocol/ids.ts';
import type {
  Capability,
  ClientMessage,
  LinkReport,
  ModelCard,
  SliceName,
} from '../../../src/protocol/signaling.ts';

export const CAPABILITY: Capability = {
  memoryBytes: 2e9,
  matvecBytesPerSecond: 1e10,
  matmulFlopsPerSecond: 1e11,
  adapter: 'Test GPU',
};

export const TINY: ModelCard = {
  id: 'skein-tiny' as ModelId,
  url: '/models/skein-tiny/',
  quantization: 'none',
  cache: 'f32',
  activations: 'f32',
  layerCount: 8,
  hiddenSize: 128,
  contextLength: 2048,
  bytesPerLayer: 1e6,
  embeddingBytes: 1e6,
  headBytes: 1e6,
  multiplyAddsPerLayer: 5e5,
  headMultiplyAdds: 5e5,
  cacheBytesPerTokenPerLayer: 1024,
};

export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

export function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}

/** Lets every promise callback that can run now run. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export function peerId(seed: string): PeerId {
  return seed.repeat(32).slice(0, 32) as PeerId;
}

export class FakeHost implements EngineHost {
  readonly loss = deferred<SkeinError>();
  readonly measuring = deferred<Capability>();
  readonly loads: { readonly options: LoadOptions; readonly done: Deferred<undefined> }[] = [];
  memoryLimitBytes = 0;
  timesKernels: boolean | undefined;
  /** What `cachedSlices` answers. */
  cached: SliceName[] = [];
  unloads = 0;
  isDisposed = false;

  get lost(): Promise<SkeinError> {
    return this.loss.promise;
  }

  get lastLoad(): { readonly options: LoadOptions; readonly done: Deferred<undefined> } {
    const load = this.loads.at(-1);
    if (load === undefined) throw new Error('nothing was loaded');
    return load;
  }

  measure({ memoryLimitBytes, timesKernels }: MeasureOptions): Promise<Capability> {
    this.timesKernels = timesKernels;
    this.memoryLimitBytes = memoryLimitBytes;
    return this.measuring.promise;
  }

  cachedSlices(): SliceName[] {
    return this.cached;
  }

  load(options: LoadOptions): Promise<void> {
    const done = deferred<undefined>();
    this.loads.push({ options, done });
    return done.promise;
  }

  unload(): void {
    this.unloads += 1;
  }

  dispose(): void {
    this.isDisposed = true;
  }
}

type Listener = (event: SessionEvent) => void;

export class FakeSession implements MeshSession {
  readonly self: PeerId;
  readonly models = [TINY];
  readonly sent: ClientMessage[] = [];
  readonly transport: MeasuredTransport;
  /** What the transport says of its links. */
  links: LinkReport[] = [];
  readonly probes: { readonly peers: readonly PeerId[]; readonly done: Deferred<undefined> }[] = [];
  readonly #listeners = new Map<string, Set<Listener>>();

  constructor(seed: string) {
    this.self = peerId(seed);
    this.transport = {
      self: this.self,
      send: () => Promise.resolve(),
      onFrame: () => () => undefined,
      onPeerLost: () => () => undefined,
      reject: () => undefined,
      linkStats: () => this.links,
      probe: (peers) => {
        const done = deferred<undefined>();
        this.probes.push({ peers, done });
        return done.promise;
      },
    };
  }

  readonly signaling: MeshSession['signaling'] = {
    send: (message) => void this.sent.push(message),
    on: (type, listener) => {
      const listeners = this.#listeners.get(type) ?? new Set();
      this.#listeners.set(type, listeners);
      listeners.add(listener as Listener);
      return () => void listeners.delete(listener as Listener);
    },
  };

  deliver(event: SessionEvent): void {
    for (const listener of [...(this.#listeners.get(event.type) ?? [])]) listener(event);
  }
}

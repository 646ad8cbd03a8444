import type { DeviceHints, HintSource } from '../../../src/contributor/device-hints.ts';
import type { EngineHost, LoadOptions, MeasureOptions } from '../../../src/contributor/engine-host.ts';
import type { Slice } from '../../../src/engine/batch.ts';
import { Observable } from '../../../src/mesh/observable.ts';
import type { MeasuredTransport, MeshSession } from '../../../src/mesh/mesh-session.ts';
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
import type { FrameTransport } from '../../../src/protocol/transport.ts';

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

/** A slice whose figures are all different. */
export function fakeSlice(does: Pick<Slice, 'forward' | 'copyBlocks' | 'dispose'>): Slice {
  return {
    hiddenSize: 1,
    vocabSize: 2,
    hasEmbedding: true,
    hasHead: false,
    blockCount: 3,
    contextLength: 4,
    maxBatchRows: 5,
    maxBatchSequences: 6,
    ...does,
  };
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
  /** What was asked of `isAlive`, in order. */
  readonly pings: Deferred<boolean>[] = [];
  /** Settles what `dispose` returned; at once by default. */
  freeing: Promise<void> = Promise.resolve();

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

  isAlive(): Promise<boolean> {
    const ping = deferred<boolean>();
    this.pings.push(ping);
    return ping.promise;
  }

  dispose(): Promise<void> {
    this.isDisposed = true;
    return this.freeing;
  }
}

/** Hints that change when a test says so. */
export class FakeHints implements HintSource {
  readonly #source = new Observable<DeviceHints>({ isHidden: false, battery: null });

  get hints(): DeviceHints {
    return this.#source.value;
  }

  subscribe(listener: (hints: DeviceHints) => void): () => void {
    return this.#source.subscribe(listener);
  }

  change(changes: Partial<DeviceHints>): void {
    this.#source.value = { ...this.#source.value, ...changes };
  }

  /** @param percent of the charge. */
  battery(percent: number, isCharging = false): void {
    this.change({ battery: { charge: percent / 100, isCharging } });
  }
}

function deadTransport(self: PeerId): FrameTransport {
  return {
    self,
    send: () => Promise.resolve(),
    onFrame: () => () => undefined,
    onPeerLost: () => () => undefined,
    reject: () => undefined,
  };
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

  /** @param frames carries its frames; nothing does by default. */
  constructor(seed: string, frames: FrameTransport = deadTransport(peerId(seed))) {
    this.self = frames.self;
    this.transport = {
      self: this.self,
      send: (to, frame) => frames.send(to, frame),
      onFrame: (listener) => frames.onFrame(listener),
      onPeerLost: (listener) => frames.onPeerLost(listener),
      reject: (from, reason) => frames.reject(from, reason),
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

import type { GenerateDeps } from '../../../src/client/generate.ts';
import { LocalHub } from '../../../src/mesh/local-hub.ts';
import { ServedStage } from '../../../src/mesh/served-stage.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import type { Hop } from '../../../src/protocol/route.ts';
import type { Tokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { AddingMachine } from '../mesh/adding-machine.ts';
import { MODEL, peerId, settled } from '../mesh/local-mesh.ts';
import { ManualClock } from '../mesh/manual-clock.ts';

export interface Replica {
  readonly hop: Hop;
  readonly machine: AddingMachine;
  readonly served: ServedStage;
}

const LAYERS_PER_SLICE = 2;

/** Slices of an adding machine, each held by several peers; the first that is alive and not excluded gets the route. */
export class ReplicaMesh {
  readonly hub = new LocalHub();
  readonly clock = new ManualClock();
  readonly requester = peerId(0xff);
  readonly layerCount: number;
  readonly slices: readonly (readonly Replica[])[];
  readonly suspected: PeerId[] = [];
  readonly #dead = new Set<PeerId>();

  constructor(sliceCount: number, replicas: number, chunkRows = 16) {
    const layerCount = sliceCount * LAYERS_PER_SLICE;
    this.layerCount = layerCount;
    this.slices = Array.from({ length: sliceCount }, (_slice, slice) =>
      Array.from({ length: replicas }, (_replica, replica): Replica => {
        const layerStart = slice * LAYERS_PER_SLICE;
        const layerEnd = layerStart + LAYERS_PER_SLICE;
        const hop = { peer: peerId(1 + slice * 16 + replica), layerStart, layerEnd };
        const machine = new AddingMachine({ layerStart, layerEnd, layerCount, chunkRows });
        const served = new ServedStage({
          transport: this.hub.transport(hop.peer),
          executor: machine,
          model: MODEL,
          layerStart,
          layerEnd,
          wireFormat: 'f16',
          clock: this.clock,
        });
        return { hop, machine, served };
      }),
    );
  }

  get replicas(): readonly Replica[] {
    return this.slices.flat();
  }

  replica(slice: number, index = 0): Replica {
    const replica = this.slices[slice]?.[index];
    if (!replica) throw new Error(`There is no replica ${index} of slice ${slice}.`);
    return replica;
  }

  /** The process of the peer is gone. */
  kill({ hop }: Replica): void {
    this.#dead.add(hop.peer);
    this.hub.remove(hop.peer);
  }

  /** @throws SkeinError `no-route` where nobody is left for a slice. */
  hops(exclude: readonly PeerId[]): Hop[] {
    return this.slices.map((replicas) => {
      const found = replicas.find(({ hop }) => !exclude.includes(hop.peer) && !this.#dead.has(hop.peer));
      if (!found) throw new SkeinError('no-route', 'nobody holds a slice');
      return found.hop;
    });
  }

  deps(changes: Partial<GenerateDeps> = {}): GenerateDeps {
    const { clock } = this;
    return {
      transport: this.hub.transport(this.requester),
      tokenizer: {
        stopTokenIds: [],
        streamDecoder: () => ({ push: () => '', flush: () => '' }),
      } as unknown as Tokenizer,
      requestRoute: async (query) => {
        await Promise.resolve();
        return { ...query, hops: this.hops(query.exclude) };
      },
      endRoute: () => undefined,
      suspect: (_requestId, peer) => void this.suspected.push(peer),
      clock,
      now: () => clock.now(),
      sleep: (ms) => new Promise((resolve) => void clock.after(ms, resolve)),
      ...changes,
    };
  }

  /** Lets time pass, with a turn for everybody after every step of it. */
  async pass(ms: number, stepMs = 50): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.clock.advance(stepMs);
      await settled();
    }
  }

  /** Requests open anywhere alive: nothing may be left behind. */
  get openRequests(): number {
    return this.replicas
      .filter(({ hop }) => !this.#dead.has(hop.peer))
      .reduce((sum, { machine, served }) => sum + machine.sequences.size + served.activeRequests, 0);
  }

  get rowsComputed(): number[] {
    return this.replicas.map(({ machine }) => machine.rowsComputed);
  }
}

import type { GenerateDeps } from '../../../src/client/generate.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import type { Hop } from '../../../src/protocol/route.ts';
import type { Tokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { AddingMachine } from '../mesh/adding-machine.ts';
import { settled } from '../mesh/local-mesh.ts';
import { ReplicaMesh } from '../mesh/replica-mesh.ts';
import type { Replica } from '../mesh/replica-mesh.ts';

/** A mesh with replicas and a scheduler that gives routes over the first who live and are not excluded. */
export class GenerationMesh extends ReplicaMesh {
  /** Whom the requester suspected, in order. */
  readonly suspected: PeerId[] = [];
  readonly replicas: readonly Replica[];

  constructor(slices: number, replicas: number, chunkRows = 16) {
    super({ slices, replicas }, (bounds) => {
      return new AddingMachine({ ...bounds, layerCount: slices * 2, chunkRows });
    });
    this.replicas = Array.from({ length: slices * replicas }, (_, index) => {
      return this.at(Math.floor(index / replicas), index % replicas);
    });
  }

  /** @throws SkeinError `no-route` where nobody is left for a slice. */
  hops(exclude: readonly PeerId[]): Hop[] {
    this.avoided.clear();
    for (const peer of exclude) this.avoided.add(peer);
    try {
      return this.route();
    } catch (cause) {
      throw new SkeinError('no-route', 'nobody holds a slice', { cause });
    }
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
      .filter(({ hop }) => !this.dead.has(hop.peer))
      .reduce((sum, { machine, served }) => sum + machine.openSequences + served.activeRequests, 0);
  }
}

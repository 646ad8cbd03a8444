import { LocalHub } from '../../../src/mesh/local-hub.ts';
import { ServedStage } from '../../../src/mesh/served-stage.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import type { Hop } from '../../../src/protocol/route.ts';
import type { StageExecutor } from '../../../src/protocol/stage.ts';
import { AddingMachine } from './adding-machine.ts';
import { MODEL, peerId, settled } from './local-mesh.ts';
import { ManualClock } from './manual-clock.ts';

/** An executor that can be asked, and made to fail. */
export interface Machine extends StageExecutor {
  /** Since it was made. */
  readonly rowsComputed: number;
  readonly openSequences: number;
  /** Runs in the pass in which, or before the pass after which, it has computed so many rows. */
  whenComputed(rows: number, run: () => void): void;
}

export interface Replica<Kind extends Machine = AddingMachine> {
  readonly hop: Hop;
  readonly machine: Kind;
  readonly served: ServedStage;
}

interface Bounds {
  readonly layerStart: number;
  readonly layerEnd: number;
}

export interface ReplicaMeshOptions {
  readonly slices: number;
  readonly replicas: number;
  readonly chunkRows?: number;
  readonly maxJournalBytes?: number;
}

export function replicasOfAddingMachines(options: ReplicaMeshOptions): ReplicaMesh {
  const { slices, chunkRows } = options;
  return new ReplicaMesh(options, (bounds) => {
    return new AddingMachine({
      ...bounds,
      layerCount: slices * 2,
      ...(chunkRows !== undefined && { chunkRows }),
    });
  });
}

/** Stages on a hub, several for each slice of two layers; any of them can be killed. */
export class ReplicaMesh<Kind extends Machine = AddingMachine> {
  readonly hub = new LocalHub();
  readonly clock = new ManualClock();
  readonly requester = peerId(0xff);
  readonly layerCount: number;
  readonly dead = new Set<PeerId>();
  /** They live, and are in no new route. */
  readonly avoided = new Set<PeerId>();
  readonly #replicas = new Map<PeerId, Replica<Kind>>();

  constructor(
    private readonly options: ReplicaMeshOptions,
    private readonly makeMachine: (bounds: Bounds) => Kind,
  ) {
    const { slices, replicas } = options;
    this.layerCount = slices * 2;
    for (let slice = 0; slice < slices; slice += 1) {
      for (let replica = 0; replica < replicas; replica += 1) this.#add(slice, replica);
    }
  }

  at(slice: number, replica = 0): Replica<Kind> {
    const found = this.#replicas.get(idOf(slice, replica));
    if (!found) throw new Error(`There is no replica ${replica} of slice ${slice}.`);
    return found;
  }

  /** The first replica of each slice that lives and is not avoided. */
  route(): Hop[] {
    return Array.from({ length: this.options.slices }, (_, slice) => {
      for (let replica = 0; replica < this.options.replicas; replica += 1) {
        const { hop } = this.at(slice, replica);
        if (!this.dead.has(hop.peer) && !this.avoided.has(hop.peer)) return hop;
      }
      throw new Error(`Nobody holds slice ${slice} any more.`);
    });
  }

  kill({ hop }: Replica<Kind>): void {
    this.dead.add(hop.peer);
    this.hub.remove(hop.peer);
  }

  killAtRows(replica: Replica<Kind>, rows: number): void {
    replica.machine.whenComputed(rows, () => this.kill(replica));
  }

  /** Rows that each living replica computed, by slice. */
  rowsComputed(): number[] {
    return this.route().map(({ peer }) => this.#replicas.get(peer)?.machine.rowsComputed ?? 0);
  }

  /** What the living hold and wait for, once everything is over that ends with time. */
  async leftovers(): Promise<{ sequences: number; timers: number; journalBytes: number; rejected: number }> {
    this.clock.advance(120_000);
    await settled();
    const living = [...this.#replicas.values()].filter(({ hop }) => !this.dead.has(hop.peer));
    const total = (of: (replica: Replica<Kind>) => number) => living.reduce((sum, each) => sum + of(each), 0);
    return {
      sequences: total(({ machine, served }) => {
        return machine.openSequences + served.activeRequests + served.suspendedRequests;
      }),
      timers: this.clock.pendingTimers,
      journalBytes: total(({ served }) => served.journalBytes),
      rejected: total(({ served }) => served.counters.rejected),
    };
  }

  #add(slice: number, replica: number): void {
    const { maxJournalBytes } = this.options;
    const bounds = { layerStart: slice * 2, layerEnd: slice * 2 + 2 };
    const hop: Hop = { peer: idOf(slice, replica), ...bounds };
    const machine = this.makeMachine(bounds);
    const served = new ServedStage({
      transport: this.hub.transport(hop.peer),
      executor: machine,
      model: MODEL,
      ...bounds,
      wireFormat: 'f16',
      clock: this.clock,
      ...(maxJournalBytes !== undefined && { maxJournalBytes }),
    });
    this.#replicas.set(hop.peer, { hop, machine, served });
  }
}

function idOf(slice: number, replica: number): PeerId {
  return peerId((slice + 1) * 16 + replica);
}

import { LocalHub } from '../../../src/mesh/local-hub.ts';
import { ServedStage } from '../../../src/mesh/served-stage.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import type { Hop } from '../../../src/protocol/route.ts';
import { AddingMachine } from './adding-machine.ts';
import { MODEL, peerId, settled } from './local-mesh.ts';
import { ManualClock } from './manual-clock.ts';

export interface Replica {
  readonly hop: Hop;
  readonly machine: AddingMachine;
  readonly served: ServedStage;
}

export interface ReplicaMeshOptions {
  readonly slices: number;
  readonly replicas: number;
  readonly chunkRows?: number;
  readonly maxJournalBytes?: number;
}

/** Stages of an adding machine on a hub, several for each slice of two layers; any of them can be killed. */
export class ReplicaMesh {
  readonly hub = new LocalHub();
  readonly clock = new ManualClock();
  readonly requester = peerId(0xff);
  readonly layerCount: number;
  readonly dead = new Set<PeerId>();
  /** They live, and are in no new route. */
  readonly avoided = new Set<PeerId>();
  readonly #replicas = new Map<PeerId, Replica>();

  constructor(private readonly options: ReplicaMeshOptions) {
    const { slices, replicas } = options;
    this.layerCount = slices * 2;
    for (let slice = 0; slice < slices; slice += 1) {
      for (let replica = 0; replica < replicas; replica += 1) this.#add(slice, replica);
    }
  }

  at(slice: number, replica = 0): Replica {
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

  kill({ hop }: Replica): void {
    this.dead.add(hop.peer);
    this.hub.remove(hop.peer);
  }

  /** It dies in the pass in which it has computed so many rows since it was made; nothing of that pass leaves it. */
  killAtRows(replica: Replica, rows: number): void {
    replica.machine.tamper = (outputs) => {
      if (replica.machine.rowsComputed < rows) return outputs;
      this.kill(replica);
      return [];
    };
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
    const total = (of: (replica: Replica) => number) => living.reduce((sum, each) => sum + of(each), 0);
    return {
      sequences: total(({ machine, served }) => {
        return machine.sequences.size + served.activeRequests + served.suspendedRequests;
      }),
      timers: this.clock.pendingTimers,
      journalBytes: total(({ served }) => served.journalBytes),
      rejected: total(({ served }) => served.counters.rejected),
    };
  }

  #add(slice: number, replica: number): void {
    const { chunkRows, maxJournalBytes } = this.options;
    const bounds = { layerStart: slice * 2, layerEnd: slice * 2 + 2 };
    const hop: Hop = { peer: idOf(slice, replica), ...bounds };
    const machine = new AddingMachine({
      ...bounds,
      layerCount: this.layerCount,
      ...(chunkRows !== undefined && { chunkRows }),
    });
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

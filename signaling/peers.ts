import type { ModelId, PeerId } from '../src/protocol/ids.ts';
import type { Capability, MeshMember } from '../src/protocol/signaling.ts';
import type { Assignment, LayerRange, SchedulerNode } from './scheduler/types.ts';

/** What a connected peer is to the mesh. */
export type Standing =
  /** Connected, but has not said hello. */
  | { readonly kind: 'stranger' }
  /** Uses the mesh without lending anything. */
  | { readonly kind: 'visitor' }
  /** Lends its device and has no work. */
  | { readonly kind: 'waiting'; readonly capability: Capability }
  | { readonly kind: 'loading' | 'serving'; readonly capability: Capability; readonly slice: Assignment };

/** The connected peers, in order of arrival. */
export class Peers {
  readonly #standings = new Map<PeerId, Standing>();

  get(peer: PeerId): Standing | undefined {
    return this.#standings.get(peer);
  }

  set(peer: PeerId, standing: Standing): void {
    this.#standings.set(peer, standing);
  }

  remove(peer: PeerId): void {
    this.#standings.delete(peer);
  }

  /** Peers that said hello. */
  greeted(): PeerId[] {
    return [...this.#standings].filter(([, { kind }]) => kind !== 'stranger').map(([peer]) => peer);
  }

  isGreeted(peer: PeerId): boolean {
    const standing = this.#standings.get(peer);
    return standing !== undefined && standing.kind !== 'stranger';
  }

  /** Peers whose slice of the model answers. */
  serving(model: ModelId): (SchedulerNode & LayerRange)[] {
    return [...this.#standings].flatMap(([peer, standing]) => {
      if (standing.kind !== 'serving' || standing.slice.model !== model) return [];
      const { layerStart, layerEnd } = standing.slice;
      return [{ ...schedulerNode(peer, standing.capability), layerStart, layerEnd }];
    });
  }

  /** Peers that lend their device. */
  nodes(): SchedulerNode[] {
    return [...this.#standings].flatMap(([peer, standing]) =>
      'capability' in standing ? [schedulerNode(peer, standing.capability)] : [],
    );
  }

  assignments(): Map<PeerId, Assignment> {
    return new Map(
      [...this.#standings].flatMap(([peer, standing]) =>
        'slice' in standing ? [[peer, standing.slice]] : [],
      ),
    );
  }

  members(): MeshMember[] {
    return [...this.#standings].flatMap(([peer, standing]) =>
      'slice' in standing
        ? [{ peer, ...standing.slice, state: standing.kind, adapter: standing.capability.adapter }]
        : [],
    );
  }
}

function schedulerNode(peer: PeerId, capability: Capability): SchedulerNode {
  return { peer, capability, region: 0, cached: [] };
}

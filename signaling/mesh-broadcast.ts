import type { ServerMessage } from '../src/protocol/signaling.ts';
import { MAX_MESH_BROADCAST_DELAY_MS, MESH_BROADCAST_DELAY_MS } from './limits.ts';

export interface MeshBroadcastDeps {
  readonly mesh: () => Extract<ServerMessage, { type: 'mesh' }>;
  /** Sends JSON to everybody who said hello. */
  readonly sendAll: (json: string) => void;
}

/**
 * Tells everybody who holds what, soon after it changed. A change of one of n members is told to everybody with all n, so the
 * more there are the more changes go out as one, and what nobody would see a difference in is not sent.
 */
export class MeshBroadcast {
  readonly #deps: MeshBroadcastDeps;
  #timer: NodeJS.Timeout | null = null;
  /** What everybody knows; null where somebody may know something else. */
  #known: string | null = null;
  #isStopped = false;

  constructor(deps: MeshBroadcastDeps) {
    this.#deps = deps;
  }

  /** Something may have changed. */
  schedule(): void {
    if (this.#isStopped) return;
    this.#timer ??= setTimeout(() => this.#send(), broadcastDelayMs(this.#deps.mesh().members.length));
  }

  /** Somebody was told alone. Between a change and its broadcast that is what the others do not know yet, and may never be. */
  toldAlone(): void {
    if (this.#timer !== null) this.#known = null;
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #send(): void {
    this.#timer = null;
    const json = JSON.stringify(this.#deps.mesh());
    if (json === this.#known) return;
    this.#known = json;
    this.#deps.sendAll(json);
  }
}

/** A second at a hundred members. */
export function broadcastDelayMs(memberCount: number): number {
  const delayMs = memberCount * MESH_BROADCAST_DELAY_MS;
  return Math.min(Math.max(delayMs, MESH_BROADCAST_DELAY_MS), MAX_MESH_BROADCAST_DELAY_MS);
}

import { MAX_ROUTE_HOPS } from '../../src/protocol/limits.ts';
import type { Hop } from '../../src/protocol/route.ts';
import { sliceSeconds } from './cost.ts';
import type { RouteDecision, RouteInput, ServingMember } from './types.ts';

/**
 * Seconds one more hop costs a token: a data-channel message and a read-back from the GPU. Makes few big stages win
 * over many small ones of the same speed.
 */
export const HOP_SECONDS = 0.005;

interface Arrival {
  readonly seconds: number;
  readonly member: ServingMember;
  /** How the layer before this member's slice was reached; null at layer 0. */
  readonly before: Arrival | null;
}

/**
 * The least-cost chain of members from layer 0 to the head. A member is entered at its first layer and left after its
 * last, because a stage computes its whole slice; it costs its measured time for the slice, as often as requests
 * share it, and one hop. One round per hop, so that a route within the hop limit is found whenever there is one.
 */
export function findRoute({ card, members, exclude }: RouteInput): RouteDecision {
  const usable = members.filter((member) => !exclude.has(member.peer));
  let reached = new Map<number, Arrival | null>([[0, null]]);
  let best: Arrival | null = null;

  for (let hops = 1; hops <= MAX_ROUTE_HOPS && reached.size > 0; hops += 1) {
    const next = new Map<number, Arrival>();
    for (const member of usable) {
      const before = reached.get(member.layerStart);
      if (before === undefined) continue;
      const seconds = (before?.seconds ?? 0) + memberSeconds(card, member);
      const known = next.get(member.layerEnd);
      if (known === undefined || seconds < known.seconds) {
        next.set(member.layerEnd, { seconds, member, before });
      }
    }
    const complete = next.get(card.layerCount);
    if (complete !== undefined && (best === null || complete.seconds < best.seconds)) best = complete;
    reached = next;
  }
  return best === null
    ? { kind: 'none' }
    : { kind: 'route', hops: toHops(best), secondsPerToken: best.seconds };
}

function memberSeconds(card: RouteInput['card'], member: ServingMember): number {
  return sliceSeconds(card, member.capability, member) * (1 + member.inFlight) + HOP_SECONDS;
}

function toHops(last: Arrival): Hop[] {
  const hops: Hop[] = [];
  for (let arrival: Arrival | null = last; arrival !== null; arrival = arrival.before) {
    const { peer, layerStart, layerEnd } = arrival.member;
    hops.unshift({ peer, layerStart, layerEnd });
  }
  return hops;
}

import { MAX_ROUTE_HOPS } from '../../src/protocol/limits.ts';
import type { Hop } from '../../src/protocol/route.ts';
import { searchedMembers } from './route-candidates.ts';
import { hasRoom, RouteCosts } from './route-costs.ts';
import { RouteSearch } from './route-search.ts';
import type { RouteDecision, RouteInput, ServingMember } from './types.ts';

/**
 * Part of a step by which the hops of the requester's last request may be slower than the best ones. They still have
 * the beginning of the conversation, and computing it again takes about this part of the time of an answer.
 */
export const PREFIX_DISCOUNT = 0.2;

/** First penalty of a hop, doubled until the chain is short enough or as short as there is one. */
const LEAST_HOP_PENALTY_SECONDS = 0.001;
const MOST_HOP_PENALTY_SECONDS = 1e6;

/**
 * The chain of members from layer 0 to the head with the quickest decode step: steps with the requests already in them,
 * ways between hops, and the way from the last back to the first. A member is entered at its first layer and left after
 * its last, because a stage computes its whole slice. Members whose cache has no room for the request are left out.
 */
export function findRoute(input: RouteInput): RouteDecision {
  const { exclude, members, tokens, card } = input;
  const usable = exclude.size === 0 ? members : members.filter(({ peer }) => !exclude.has(peer));
  const roomy = usable.filter((member) => hasRoom(member, tokens));

  const costs = new RouteCosts(input);
  const chain = cheapestChain(roomy, costs, input);
  if (chain === null) {
    const isFull = roomy.length < usable.length && leastHops(usable, card.layerCount) <= MAX_ROUTE_HOPS;
    return { kind: isFull ? 'full' : 'none' };
  }
  const known = previousChain(input, roomy);
  const isKept =
    known !== null && costs.choiceSeconds(known) * (1 - PREFIX_DISCOUNT) <= costs.choiceSeconds(chain);
  const chosen = isKept ? known : chain;
  return { kind: 'route', hops: chosen.map(toHop), secondsPerToken: costs.decodeSeconds(chosen) };
}

/** Where the quickest chain has too many hops, a penalty on each of them finds a shorter one. */
function cheapestChain(
  members: readonly ServingMember[],
  costs: RouteCosts,
  { card, network }: RouteInput,
): readonly ServingMember[] | null {
  const search = new RouteSearch(searchedMembers(members, costs), {
    costs,
    network,
    layerCount: card.layerCount,
  });
  let chain = search.cheapest();
  let penaltySeconds = LEAST_HOP_PENALTY_SECONDS;
  while (chain !== null && chain.length > MAX_ROUTE_HOPS) {
    if (penaltySeconds > MOST_HOP_PENALTY_SECONDS) return null;
    chain = search.cheapest(penaltySeconds);
    penaltySeconds *= 2;
  }
  return chain;
}

/** Infinity where no chain reaches the head. */
function leastHops(members: readonly ServingMember[], layerCount: number): number {
  const hops = new Array<number>(layerCount + 1).fill(Infinity);
  hops[0] = 0;
  for (const { layerStart, layerEnd } of members.toSorted((a, b) => a.layerStart - b.layerStart)) {
    hops[layerEnd] = Math.min(hops[layerEnd] ?? Infinity, (hops[layerStart] ?? Infinity) + 1);
  }
  return hops[layerCount] ?? Infinity;
}

/** The last request's hops, if all of them still serve the same layers; null if any does not, or has no room. */
function previousChain(
  { previous, card }: RouteInput,
  members: readonly ServingMember[],
): readonly ServingMember[] | null {
  if (previous.length === 0 || previous.at(-1)?.layerEnd !== card.layerCount) return null;
  const byPeer = new Map(members.map((member) => [member.peer, member]));
  const chain: ServingMember[] = [];
  for (const { peer, layerStart, layerEnd } of previous) {
    const member = byPeer.get(peer);
    if (member?.layerStart !== layerStart || member.layerEnd !== layerEnd) return null;
    chain.push(member);
  }
  return chain;
}

function toHop({ peer, layerStart, layerEnd }: ServingMember): Hop {
  return { peer, layerStart, layerEnd };
}

import { waysOf } from './network.ts';
import type { RouteCosts } from './route-costs.ts';
import type { Network, ServingMember } from './types.ts';

/** With more first members than this, those of one region are searched from together. */
const MAX_SINGLE_FIRSTS = 8;
/** Of the exits of one region at a boundary, so many are at hand when the best is linked worse than its region. */
const EXITS_AT_HAND = 4;

/** A member on the way of a search. */
interface Stop {
  readonly member: ServingMember;
  /** Place in order of arrival, which decides between equals. */
  readonly index: number;
  readonly region: number;
  /** Of its own step. */
  readonly seconds: number;
  /** Measured ways to it from members that end where it starts, with the seconds of the hop. */
  readonly links: { readonly from: Stop; readonly seconds: number }[];
  /** From the requester to the end of its step; Infinity where it was not reached. */
  reachedSeconds: number;
  before: Stop | null;
  first: Stop | null;
  /** The last stop that has a measured way from here, which its region's figure then says nothing of. */
  linkedTo: Stop | null;
}

/** The stops that end at one boundary, in order of what it takes to be there. */
interface Exits {
  readonly all: Stop[];
  /** By region; the best few, sorted. */
  readonly best: (Stop[] | undefined)[];
  /** By region of who enters, for those without measured ways: who to come from. */
  readonly into: (Entry | null | undefined)[];
}

interface Entry {
  readonly from: Stop;
  readonly seconds: number;
}

/** Every member and boundary of one request, ready to be searched. */
export class RouteSearch {
  readonly #costs: RouteCosts;
  readonly #layerCount: number;
  readonly #stops: readonly Stop[];
  /** By first layer, in order of arrival. */
  readonly #starting: (Stop[] | undefined)[] = [];
  #exits: (Exits | undefined)[] = [];
  #hopPenaltySeconds = 0;

  constructor(
    members: readonly ServingMember[],
    { costs, network, layerCount }: { costs: RouteCosts; network: Network; layerCount: number },
  ) {
    this.#costs = costs;
    this.#layerCount = layerCount;
    this.#stops = affordable(members, costs).map(({ member, seconds }, index) => ({
      member,
      index,
      region: member.region,
      seconds,
      links: [],
      reachedSeconds: Infinity,
      before: null,
      first: null,
      linkedTo: null,
    }));
    for (const stop of this.#stops) {
      const { layerStart } = stop.member;
      const together = this.#starting[layerStart];
      if (together === undefined) this.#starting[layerStart] = [stop];
      else together.push(stop);
    }
    if (network.links.size > 0) this.#link(network);
  }

  /**
   * The cheapest chain of whole slices from layer 0 to the head, the way from the last back to the first included.
   * Exact for up to `MAX_SINGLE_FIRSTS` members at layer 0; with more of them, a measured way from a last member back to a
   * first one counts only for the best first of each region.
   * @param hopPenaltySeconds added to every hop, for chains with fewer of them.
   * @returns null when there is no chain.
   */
  cheapest(hopPenaltySeconds = 0): readonly ServingMember[] | null {
    this.#hopPenaltySeconds = hopPenaltySeconds;
    let bestSeconds = Infinity;
    let best: readonly ServingMember[] | null = null;
    for (const firsts of this.#groupsOfFirsts()) {
      for (const last of this.#reachFrom(firsts)) {
        if (last.first === null) continue;
        const seconds =
          last.reachedSeconds +
          this.#costs.ring(last.member, last.first.member) +
          this.#costs.requesterWay(last.member);
        if (best === null || seconds < bestSeconds) {
          bestSeconds = seconds;
          best = chainTo(last);
        }
      }
    }
    return best;
  }

  #link(network: Network): void {
    const { numbers, of } = waysOf(network);
    const stopOf: (Stop | undefined)[] = new Array<undefined>(of.length).fill(undefined);
    const numberOf = this.#stops.map((stop) => {
      const number = numbers.get(stop.member.peer);
      if (number !== undefined) stopOf[number] = stop;
      return number;
    });
    for (const stop of this.#stops) {
      const number = numberOf[stop.index];
      if (number === undefined || stop.member.layerStart === 0) continue;
      for (const { to, link } of of[number] ?? []) {
        const from = stopOf[to];
        if (from?.member.layerEnd !== stop.member.layerStart) continue;
        stop.links.push({ from, seconds: this.#costs.hopOverLink(link) });
      }
    }
  }

  /** The way back depends on who was first, so each first is searched from alone, or with its region. */
  #groupsOfFirsts(): readonly (readonly Stop[])[] {
    const firsts = this.#starting[0] ?? [];
    if (firsts.length <= MAX_SINGLE_FIRSTS) return firsts.map((first) => [first]);
    const regions = new Map<number, Stop[]>();
    for (const first of firsts) {
      const together = regions.get(first.region);
      if (together === undefined) regions.set(first.region, [first]);
      else together.push(first);
    }
    return [...regions.values()];
  }

  /** @returns the stops that end at the head. */
  #reachFrom(firsts: readonly Stop[]): readonly Stop[] {
    this.#exits = [];
    for (const stop of this.#stops) stop.reachedSeconds = Infinity;
    for (const first of firsts) {
      const seconds = this.#costs.requesterWay(first.member) + first.seconds + this.#hopPenaltySeconds;
      this.#reach(first, seconds, null);
    }
    for (let layer = 1; layer < this.#layerCount; layer += 1) {
      const exits = this.#exits[layer];
      if (exits === undefined) continue;
      for (const stop of this.#starting[layer] ?? []) {
        const entry = this.#entry(stop, exits);
        if (entry === null) continue;
        this.#reach(stop, entry.seconds + stop.seconds + this.#hopPenaltySeconds, entry.from);
      }
    }
    return this.#exits[this.#layerCount]?.all ?? [];
  }

  #reach(stop: Stop, seconds: number, before: Stop | null): void {
    stop.reachedSeconds = seconds;
    stop.before = before;
    stop.first = before === null ? stop : before.first;
    stop.linkedTo = null;

    const { layerEnd } = stop.member;
    const exits = (this.#exits[layerEnd] ??= { all: [], best: [], into: [] });
    exits.all.push(stop);
    const best = (exits.best[stop.region] ??= []);
    let place = best.length;
    for (let other = best[place - 1]; other !== undefined && isBetter(stop, other); other = best[place - 1]) {
      place -= 1;
    }
    if (place >= EXITS_AT_HAND) return;
    best.splice(place, 0, stop);
    if (best.length > EXITS_AT_HAND) best.pop();
  }

  /** The cheapest way to enter a stop from those that end where it starts. */
  #entry(stop: Stop, exits: Exits): Entry | null {
    if (stop.links.length > 0) return this.#entryPastLinks(stop, exits);
    const known = exits.into[stop.region];
    if (known !== undefined) return known;
    const entry = this.#entryByRegions(stop, exits);
    exits.into[stop.region] = entry;
    return entry;
  }

  #entryByRegions(stop: Stop, exits: Exits): Entry | null {
    let entry: Entry | null = null;
    for (let region = 0; region < exits.best.length; region += 1) {
      const exit = exits.best[region]?.[0];
      if (exit !== undefined) entry = better(entry, exit, this.#costs.hopBetweenRegions(region, stop.region));
    }
    return entry;
  }

  /** A measured way counts as it is, be it better or worse than the figure of its regions. */
  #entryPastLinks(stop: Stop, exits: Exits): Entry | null {
    let entry: Entry | null = null;
    for (const { from, seconds } of stop.links) {
      from.linkedTo = stop;
      if (from.reachedSeconds < Infinity) entry = better(entry, from, seconds);
    }
    for (let region = 0; region < exits.best.length; region += 1) {
      const exit = bestWithoutWay(stop, region, exits);
      if (exit !== undefined) entry = better(entry, exit, this.#costs.hopBetweenRegions(region, stop.region));
    }
    return entry;
  }
}

/** A cost that is no number compares with nothing, and one without end makes all chains equal: neither may decide. */
function affordable(members: readonly ServingMember[], costs: RouteCosts) {
  return members
    .map((member) => ({ member, seconds: costs.memberChoice(member) }))
    .filter(({ seconds }) => Number.isFinite(seconds));
}

function bestWithoutWay(stop: Stop, region: number, exits: Exits): Stop | undefined {
  const atHand = exits.best[region];
  if (atHand === undefined) return undefined;
  for (const exit of atHand) if (exit.linkedTo !== stop) return exit;
  if (atHand.length < EXITS_AT_HAND) return undefined;
  let least: Stop | undefined;
  for (const exit of exits.all) {
    if (exit.region !== region || exit.linkedTo === stop) continue;
    if (least === undefined || isBetter(exit, least)) least = exit;
  }
  return least;
}

function isBetter(a: Stop, b: Stop): boolean {
  return a.reachedSeconds < b.reachedSeconds || (a.reachedSeconds === b.reachedSeconds && a.index < b.index);
}

function better(entry: Entry | null, from: Stop, hopSeconds: number): Entry {
  const seconds = from.reachedSeconds + hopSeconds;
  if (entry === null || seconds < entry.seconds) return { from, seconds };
  return seconds === entry.seconds && from.index < entry.from.index ? { from, seconds } : entry;
}

function chainTo(last: Stop): readonly ServingMember[] {
  const chain: ServingMember[] = [];
  for (let stop: Stop | null = last; stop !== null; stop = stop.before) chain.push(stop.member);
  return chain.reverse();
}

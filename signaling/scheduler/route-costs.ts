import { stepSeconds } from './cost.ts';
import { linkBetween, regionRtt } from './network.ts';
import type { Link, RouteInput, ServingMember } from './types.ts';

/** A link of which only the round trip is known: a home's upload. */
const UNKNOWN_BYTES_PER_SECOND = 12.5e6;
/** Activations travel as f16. */
const BYTES_PER_ACTIVATION = 2;
/**
 * The way to and from the requester counts this part of its time: only the prompt and the last token wait for it, as the
 * steps between go from the last hop to the first.
 */
const REQUESTER_WEIGHT = 0.1;
/** Requests in one step beyond which the others wait for the next one. */
const MAX_STEP_REQUESTS = 64;

/** What each part of a route costs a token of one more request, in seconds. */
export class RouteCosts {
  readonly #input: RouteInput;
  /** One activation row over a link of unknown bandwidth. */
  readonly #unknownTransferSeconds: number;

  constructor(input: RouteInput) {
    this.#input = input;
    this.#unknownTransferSeconds = this.#rowBytes / UNKNOWN_BYTES_PER_SECOND;
  }

  /**
   * Of the member's step with one more request in it. A request under way is at one of its stages at a time, so it is
   * in this stage's step as often as this stage holds layers, and brings a row of prompt for every token.
   */
  member(member: ServingMember): number {
    const { layerStart, layerEnd, inFlight } = member;
    return this.#stepWith((inFlight * (layerEnd - layerStart)) / this.#input.card.layerCount, member);
  }

  /**
   * What a member costs the choice: its step with all its requests in it at once. That is more than this request will
   * see, and makes up for what it costs the others, who all wait for its rows too.
   */
  memberChoice(member: ServingMember): number {
    return this.#stepWith(member.inFlight, member);
  }

  /** Between regions, where no link was measured: half a round trip and an activation row. */
  hopBetweenRegions(from: number, to: number): number {
    return regionRtt(this.#input.network, from, to) / 2 + this.#unknownTransferSeconds;
  }

  hopOverLink({ rttSeconds, bytesPerSecond }: Link): number {
    const transferSeconds =
      bytesPerSecond === null ? this.#unknownTransferSeconds : this.#rowBytes / bytesPerSecond;
    return rttSeconds / 2 + transferSeconds;
  }

  /** The token itself goes back to the first hop, unless that is where it was made. */
  ring(last: ServingMember, first: ServingMember): number {
    if (last === first) return 0;
    const link = linkBetween(this.#input.network, last.peer, first.peer);
    return (link?.rttSeconds ?? regionRtt(this.#input.network, last.region, first.region)) / 2;
  }

  /** What the way between the requester and an end of the route adds to the choice; no part of a decode step. */
  requesterWay({ region }: ServingMember): number {
    const { network, requesterRegion } = this.#input;
    return requesterRegion === null
      ? 0
      : (REQUESTER_WEIGHT * regionRtt(network, requesterRegion, region)) / 2;
  }

  /** Of one decode step over a whole route, as this request will see it. */
  decodeSeconds(chain: readonly ServingMember[]): number {
    return chain.reduce((seconds, member) => seconds + this.member(member), this.#waysSeconds(chain));
  }

  /** What routes are chosen by. */
  choiceSeconds(chain: readonly ServingMember[]): number {
    const first = chain[0];
    const last = chain.at(-1);
    if (first === undefined || last === undefined) return 0;
    const waysSeconds = this.#waysSeconds(chain) + this.requesterWay(first) + this.requesterWay(last);
    return chain.reduce((seconds, member) => seconds + this.memberChoice(member), waysSeconds);
  }

  /** What is over the size of a step makes it wait for so many more. */
  #stepWith(others: number, { layerStart, layerEnd, capability, pace }: ServingMember): number {
    const steps = Math.max(1, (1 + others) / MAX_STEP_REQUESTS);
    const slice = { layerStart, layerEnd };
    const step = stepSeconds(this.#input.card, capability, slice, (1 + others) / steps, others / steps);
    return pace * steps * step;
  }

  #waysSeconds(chain: readonly ServingMember[]): number {
    let seconds = 0;
    let before: ServingMember | undefined;
    for (const member of chain) {
      if (before !== undefined) seconds += this.#hop(before, member);
      before = member;
    }
    const first = chain[0];
    return first === undefined || before === undefined ? seconds : seconds + this.ring(before, first);
  }

  #hop(from: ServingMember, to: ServingMember): number {
    const link = linkBetween(this.#input.network, from.peer, to.peer);
    return link === undefined ? this.hopBetweenRegions(from.region, to.region) : this.hopOverLink(link);
  }

  get #rowBytes(): number {
    return this.#input.card.hiddenSize * BYTES_PER_ACTIVATION;
  }
}

/** Whether the cache of a member has room; one without requests takes any, since it preempts nobody. */
export function hasRoom({ inFlight, reservedTokens, cacheTokens }: ServingMember, tokens: number): boolean {
  return inFlight === 0 || reservedTokens + tokens <= cacheTokens;
}

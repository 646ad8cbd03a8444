import type { ModelCard } from '../../src/protocol/signaling.ts';
import { decodeSeconds } from './cost.ts';
import { endOrders } from './cover.ts';
import { cutRange, endsAt } from './cuts.ts';
import type { Cuts, Group } from './cuts.ts';
import { hopSeconds, placementScore } from './predict.ts';
import type { Network } from './types.ts';

/** Stages that hold a model once: the groups share its layers, and the nodes of a group hold the same ones. */
export interface Pipeline {
  /** From the embedding to the head. */
  readonly groups: readonly Group[];
  /** Layers of every group. */
  readonly layers: readonly number[];
  readonly tokensPerSecond: number;
  readonly secondsPerToken: number;
}

/** With fewer groups, who comes last tells who comes first. */
const MIN_ORDERED = 3;

/** @returns null when the groups do not hold the model in this order. */
export function formPipeline(card: ModelCard, groups: readonly Group[], network: Network): Pipeline | null {
  const cuts = cutRange(card, { layerStart: 0, layerEnd: card.layerCount }, groups);
  return cuts === null ? null : pipelineOf(card, groups, cuts, network);
}

/** @param cuts that the groups have room for. */
export function pipelineOf(
  card: ModelCard,
  groups: readonly Group[],
  { layers, rate }: Cuts,
  network: Network,
): Pipeline {
  const secondsPerToken = secondsOf(card, groups, layers, network);
  return { groups, layers, tokensPerSecond: rate, secondsPerToken };
}

/**
 * The best order of the groups by who comes last, which costs memory and time; who comes first, which costs memory only,
 * is tried as well where the model fits in none of these. Between them the groups stay in the given order.
 */
export function formInBestOrder(
  card: ModelCard,
  groups: readonly Group[],
  network: Network,
): Pipeline | null {
  let best: Pipeline | null = null;
  for (const last of groups.toReversed()) {
    const order = groups.length === 1 ? groups : [...groups.filter((group) => group !== last), last];
    best = better(best, formPipeline(card, order, network));
  }
  if (best !== null || groups.length < MIN_ORDERED) return best;
  for (const order of endOrders(groups)) best = better(best, formPipeline(card, order, network));
  return best;
}

export function better(a: Pipeline | null, b: Pipeline | null): Pipeline | null {
  if (a === null || b === null) return a ?? b;
  return placementScore(b) > placementScore(a) ? b : a;
}

/** Of several pipelines side by side: their rates add up, and one request alone takes the fastest. */
export function scoreOf(pipelines: readonly Pipeline[]): number {
  let tokensPerSecond = 0;
  let secondsPerToken = Infinity;
  for (const pipeline of pipelines) {
    tokensPerSecond += pipeline.tokensPerSecond;
    secondsPerToken = Math.min(secondsPerToken, pipeline.secondsPerToken);
  }
  return placementScore({ tokensPerSecond, secondsPerToken });
}

interface Arrival {
  readonly first: number;
  readonly region: number;
  readonly seconds: number;
}

/** The cheapest way through the groups and back from the last to the first, as far as keeping the best way to every region tells. */
function secondsOf(
  card: ModelCard,
  groups: readonly Group[],
  layers: readonly number[],
  network: Network,
): number {
  const whole = { layerStart: 0, layerEnd: card.layerCount };
  let arrivals: readonly Arrival[] = [];
  let index = 0;
  for (const group of groups) {
    const ends = endsAt(card, whole, index, groups.length);
    const next: Arrival[] = [];
    for (const { region, capability } of group) {
      const own = decodeSeconds(card, capability, layers[index] ?? 0, ends);
      let best: Arrival | null = index === 0 ? { first: region, region, seconds: own } : null;
      for (const before of arrivals) {
        const seconds = before.seconds + hopSeconds(network, before.region, region) + own;
        if (best === null || seconds < best.seconds) best = { first: before.first, region, seconds };
      }
      if (best !== null) keepFastest(next, best);
    }
    arrivals = next;
    index += 1;
  }
  let seconds = Infinity;
  for (const last of arrivals) {
    const back = groups.length === 1 ? 0 : hopSeconds(network, last.region, last.first);
    seconds = Math.min(seconds, last.seconds + back);
  }
  return seconds;
}

function keepFastest(arrivals: Arrival[], candidate: Arrival): void {
  const known = arrivals.findIndex(({ region }) => region === candidate.region);
  if (known === -1) arrivals.push(candidate);
  else if (candidate.seconds < (arrivals[known]?.seconds ?? Infinity)) arrivals[known] = candidate;
}

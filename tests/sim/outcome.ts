import type { SimulatedRequest } from './run.ts';
import type { Objective, Scenario } from './scenario.ts';
import type { Simulation } from './simulation.ts';
import { sliceWeightBytes } from './simulated-peer.ts';

/** What came of one policy in one scenario at one rate. Times in seconds; Infinity where that many were never answered. */
export interface Outcome {
  readonly requests: number;
  readonly answered: number;
  readonly lost: number;
  readonly refused: number;
  /** Neither answered nor given up when time was over. */
  readonly unfinished: number;
  /** Tokens of the answers that were asked for inside the window, per second of it: the most that goodput can be. */
  readonly askedTokensPerSecond: number;
  /** Deaths of a hop that a request survived or not, and the requests that began anew because of it or were re-routed. */
  readonly losses: number;
  /** Answer tokens that were given inside the window, per second of it. */
  readonly tokensPerSecond: number;
  /** Tokens of whole answers that met the objective, of requests that came inside the window, per second of it. */
  readonly goodTokensPerSecond: number;
  readonly latency: Percentiles;
  readonly timeToFirstToken: Percentiles;
  /** Per token after the first, of each answer. */
  readonly timePerToken: Percentiles;
  /** Of the time in which devices that could hold a layer were there, the share in which they computed nothing. */
  readonly idleShare: number;
  /** Rows computed a second time because a cache was short, as a share of all. */
  readonly againShare: number;
  readonly preemptions: number;
  readonly peakCacheShare: number;
  readonly steps: number;
  /** Tokens given in the window over tokens that were asked for in it; below 1 a backlog grows. */
  readonly keptUp: number;
}

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

export function outcomeOf(simulation: Simulation, scenario: Scenario): Outcome {
  const { meter, requests } = simulation;
  const { windowSeconds, objective } = scenario;
  const answered = requests.filter(({ state }) => state === 'answered');
  const good = answered.filter(
    (request) => meter.isOpen(request.arrivedAt) && meetsObjective(request, objective),
  );
  const asked = askedInWindow(simulation);
  const ofState = (state: SimulatedRequest['state']) =>
    requests.filter((request) => request.state === state).length;
  const lost = ofState('lost');
  const refused = ofState('refused');
  return {
    requests: requests.length,
    answered: answered.length,
    lost,
    refused,
    unfinished: requests.length - answered.length - lost - refused,
    losses: sum(requests.map(({ losses }) => losses)),
    tokensPerSecond: meter.tokens / windowSeconds,
    goodTokensPerSecond: sum(good.map(({ answerTokens }) => answerTokens)) / windowSeconds,
    askedTokensPerSecond: asked / windowSeconds,
    latency: percentiles(requests.map(latencyOf)),
    timeToFirstToken: percentiles(requests.map(({ firstTokenAt, arrivedAt }) => firstTokenAt - arrivedAt)),
    timePerToken: percentiles(
      answered
        .filter(({ answerTokens }) => answerTokens > 1)
        .map(({ answerTokens, endedAt, firstTokenAt }) => (endedAt - firstTokenAt) / (answerTokens - 1)),
    ),
    idleShare: idleShare(simulation, scenario),
    againShare: meter.rows === 0 ? 0 : meter.rowsAgain / meter.rows,
    preemptions: meter.preemptions,
    peakCacheShare: Math.max(0, ...Array.from(simulation.peers.values(), (peer) => peer.peakCacheShare)),
    steps: meter.steps,
    keptUp: meter.tokens / asked,
  };
}

function meetsObjective(request: SimulatedRequest, objective: Objective): boolean {
  const { arrivedAt, firstTokenAt, endedAt, answerTokens } = request;
  return (
    firstTokenAt - arrivedAt <= objective.firstTokenSeconds &&
    endedAt - firstTokenAt <= objective.secondsPerToken * (answerTokens - 1)
  );
}

function askedInWindow({ requests, meter }: Simulation): number {
  const asked = requests.filter(({ arrivedAt }) => meter.isOpen(arrivedAt));
  return sum(asked.map(({ answerTokens }) => answerTokens));
}

/** Infinity for whoever was never answered, so that losing requests makes no policy look fast. */
function latencyOf({ state, endedAt, arrivedAt }: SimulatedRequest): number {
  return state === 'answered' ? endedAt - arrivedAt : Infinity;
}

function idleShare({ peers, meter }: Simulation, { card }: Scenario): number {
  let presentSeconds = 0;
  let busySeconds = 0;
  const layerBytes = sliceWeightBytes(card, { layerStart: 1, layerEnd: 2 });
  for (const peer of peers.values()) {
    if (peer.device.memoryBytes < layerBytes) continue;
    presentSeconds += meter.overlap(peer.joinedAt, peer.goneAt);
    busySeconds += peer.busySeconds;
  }
  return presentSeconds === 0 ? 0 : 1 - busySeconds / presentSeconds;
}

/** The value that so many per cent do not exceed; NaN of nothing. */
function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

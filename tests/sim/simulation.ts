import type { PeerId, RequestId } from '../../src/protocol/ids.ts';
import type { LinkReport } from '../../src/protocol/signaling.ts';
import { FIRST_ATTEMPT } from '../../src/client/retry.ts';
import type { LayerRange } from '../../signaling/scheduler/types.ts';
import { drawDevice } from './device.ts';
import { EventQueue } from './event-queue.ts';
import { Meter } from './meter.ts';
import { Endpoint, Network } from './network.ts';
import type { PlannedRows } from './plan-step.ts';
import type { Policy, PolicyCommand, PolicyEvent, PolicyFactory } from './policy.ts';
import { Random } from './random.ts';
import { RequestDesk } from './request-desk.ts';
import { simpleRetry } from './retry-rule.ts';
import type { SimulatedRequest } from './run.ts';
import type { Scenario, Visit } from './scenario.ts';
import { SimulatedPeer } from './simulated-peer.ts';
import type { Arrival } from './workload.ts';
import { drawArrivals } from './workload.ts';

const TICK_SECONDS = 1;
const REPORT_SECONDS = 3;
const LAST_WORDS_SECONDS = 2;
/** Links in one report; the protocol's limit is higher. */
const MAX_LINKS = 16;

export interface SimulationOptions {
  readonly scenario: Scenario;
  readonly policy: PolicyFactory;
  readonly requestsPerSecond: number;
  readonly seed: number;
}

/** One policy in one scenario at one rate. The same options give the same run. */
export class Simulation {
  readonly queue = new EventQueue();
  readonly meter: Meter;
  readonly requests: SimulatedRequest[] = [];
  /** Everybody who ever came. */
  readonly peers = new Map<PeerId, SimulatedPeer>();
  readonly policy: Policy;
  readonly #scenario: Scenario;
  readonly #network: Network;
  readonly #desk: RequestDesk;
  readonly #random: Random;
  readonly #pings: Random;
  readonly #ids: Random;
  readonly #requestsById = new Map<RequestId, SimulatedRequest>();
  readonly #requesters = new Map<PeerId, Endpoint>();
  /** By peer, whom it sent frames to or was asked to probe since its last report. */
  readonly #linksToReport = new Map<PeerId, Set<PeerId>>();
  readonly #visitors: SimulatedPeer[] = [];
  #addresses = 0;
  #open = 0;
  #expected = 0;

  constructor({ scenario, policy, requestsPerSecond, seed }: SimulationOptions) {
    this.#scenario = scenario;
    this.#random = new Random(`${scenario.name} ${seed}`);
    this.#pings = this.#random.fork('pings');
    this.#ids = this.#random.fork('ids');
    this.#network = new Network(scenario.network, this.#random.fork('network'));
    const windowStart = scenario.warmUpSeconds + scenario.rampSeconds;
    this.meter = new Meter(windowStart, windowStart + scenario.windowSeconds);
    const policyRandom = this.#random.fork('policy');
    this.policy = policy({
      card: scenario.card,
      random: () => policyRandom.next(),
      pingSeconds: (from, to) => this.#ping(from, to),
    });
    this.#desk = new RequestDesk({
      queue: this.queue,
      network: this.#network,
      card: scenario.card,
      traits: this.policy.traits,
      meter: this.meter,
      retryRule: this.policy.retryRule ?? simpleRetry(this.policy.traits.retry),
      peers: this.peers,
      tell: (event, from) => this.#tellFrom(from, event),
      onEnded: () => (this.#open -= 1),
    });
    const visits = scenario.visits(this.#random.fork('visits'));
    const devices = this.#random.fork('devices');
    const origins: number[] = [];
    for (const [index, visit] of visits.entries()) {
      // A device that comes again is the same device.
      const origin = (visit.returnOf === null ? undefined : origins[visit.returnOf]) ?? index;
      origins.push(origin);
      this.#expect(visit, index, devices.fork(String(origin)));
    }
    const arrivals = drawArrivals(scenario, requestsPerSecond, this.#random.fork('arrivals'));
    this.#expected = arrivals.length;
    for (const arrival of arrivals) this.queue.at(arrival.atSeconds, () => this.#arrive(arrival));
    this.#everySecond();
  }

  /** Until every request has ended, or the scenario's time is over. */
  run(): void {
    const { windowEnd } = this.meter;
    this.queue.runUntil(windowEnd);
    this.queue.runUntil(
      windowEnd + this.#scenario.drainSeconds,
      () => this.#open === 0 && this.requests.length === this.#expected,
    );
    // The last words of the last requests are on their way.
    this.queue.runUntil(this.queue.nowSeconds + LAST_WORDS_SECONDS);
  }

  #everySecond(): void {
    this.#tell({ type: 'tick' });
    this.queue.after(TICK_SECONDS, () => this.#everySecond());
  }

  #expect(visit: Visit, index: number, random: Random): void {
    const id = this.#ids.hexDigits(32) as PeerId;
    const endpoint = new Endpoint(this.#addresses++, visit.site);
    const { honesty, loads } = this.#scenario;
    const device = drawDevice(visit.kind, honesty, random);
    const peer = new SimulatedPeer(id, device, endpoint, loads, visit.joinsAt, {
      queue: this.queue,
      card: this.#scenario.card,
      traits: this.policy.traits,
      meter: this.meter,
      onServing: (from, slice) => this.#serving(from, slice),
      onRows: (from, outputs) => this.#stepEnded(from, outputs),
      onFailed: (from, runs) => this.#desk.stageFailed(from, runs),
    });
    this.#visitors[index] = peer;
    this.queue.at(visit.joinsAt, () => this.#join(peer, visit));
    const noticeShare = random.fork(`notice ${index}`).next();
    if (visit.leavesAt < Infinity) this.queue.at(visit.leavesAt, () => this.#leave(peer, visit, noticeShare));
    for (const { from, until, slowness } of visit.slowdowns) {
      this.queue.at(from, () => (peer.slowness = slowness));
      this.queue.at(until, () => (peer.slowness = 1));
    }
  }

  #join(peer: SimulatedPeer, { returnOf }: Visit): void {
    this.peers.set(peer.id, peer);
    const before = returnOf === null ? undefined : this.#visitors[returnOf];
    const cached = before === undefined ? [] : before.heldBefore.slice(0, 1);
    for (const { layerStart, layerEnd } of cached) {
      for (let layer = layerStart; layer < layerEnd; layer++) peer.weightsOnDisk.add(layer);
    }
    const { site } = peer.endpoint;
    this.#tellFrom(peer.endpoint, {
      type: 'join',
      peer: peer.id,
      claim: peer.device.claim,
      bytesPerSecond: Math.min(site.uplinkBytesPerSecond, site.downlinkBytesPerSecond),
      cached,
      serverRttSeconds: this.#network.serverRttSeconds(peer.endpoint),
    });
    this.queue.after(this.#random.between(0, REPORT_SECONDS), () => this.#report(peer));
  }

  /** @param share of the way from the least to the most that it takes until a death is noticed. */
  #leave(peer: SimulatedPeer, { leaving }: Visit, share: number): void {
    const { closed, vanished } = this.policy.traits.notice;
    if (leaving !== 'politely') {
      const notice = leaving === 'closed' ? closed : vanished;
      this.#die(peer, between(notice.request, share), between(notice.policy, share));
      return;
    }
    this.#tellFrom(peer.endpoint, { type: 'leave', peer: peer.id });
    const deadline = this.queue.nowSeconds + this.#scenario.graceSeconds;
    const goWhenIdle = (): void => {
      const isOver = peer.activeSequences === 0 || this.queue.nowSeconds >= deadline;
      if (isOver) this.#die(peer, between(closed.request, share), 0);
      else this.queue.after(TICK_SECONDS, goWhenIdle);
    };
    this.queue.after(TICK_SECONDS, goWhenIdle);
  }

  #die(peer: SimulatedPeer, requestSeconds: number, policySeconds: number): void {
    peer.die(requestSeconds);
    this.#desk.peerDied(peer);
    this.#linksToReport.delete(peer.id);
    this.queue.after(policySeconds, () => this.#tell({ type: 'lost', peer: peer.id }));
  }

  #serving(peer: SimulatedPeer, slice: LayerRange): void {
    const { layerStart, layerEnd } = slice;
    this.#tellFrom(peer.endpoint, { type: 'serving', peer: peer.id, slice: { layerStart, layerEnd } });
  }

  #stepEnded(peer: SimulatedPeer, outputs: readonly PlannedRows[]): void {
    for (const { sequence } of outputs) {
      const next = sequence.run.hops[sequence.hopIndex + 1];
      if (next !== undefined) this.#linksOf(peer.id).add(next.peer);
    }
    this.#desk.stepEnded(peer, outputs);
  }

  #report(peer: SimulatedPeer): void {
    if (!peer.isAlive) return;
    const links: LinkReport[] = [];
    for (const other of this.#linksOf(peer.id)) {
      const end = this.peers.get(other);
      if (end?.isAlive !== true || links.length === MAX_LINKS) continue;
      links.push({
        peer: other,
        rttSeconds: this.#network.ping(peer.endpoint, end.endpoint, this.#pings),
        bytesPerSecond: this.#network.bytesPerSecond(peer.endpoint, end.endpoint),
      });
    }
    this.#linksOf(peer.id).clear();
    this.#tellFrom(peer.endpoint, {
      type: 'measured',
      peer: peer.id,
      stage: peer.takeReport(),
      links,
      serverRttSeconds: this.#network.serverRttSeconds(peer.endpoint),
    });
    this.queue.after(REPORT_SECONDS, () => this.#report(peer));
  }

  #arrive(arrival: Arrival): void {
    const request: SimulatedRequest = {
      id: this.#ids.hexDigits(16) as RequestId,
      requester: this.#ids.hexDigits(32) as PeerId,
      endpoint: new Endpoint(this.#addresses++, arrival.site),
      arrivedAt: this.queue.nowSeconds,
      promptTokens: arrival.promptTokens,
      answerTokens: arrival.answerTokens,
      maxTokens: this.#scenario.lengths.maxAnswerTokens,
      state: 'asking',
      tokens: 0,
      mostTokens: 0,
      firstTokenAt: Infinity,
      endedAt: Infinity,
      losses: 0,
      retry: FIRST_ATTEMPT,
      everRouted: false,
      run: null,
    };
    this.requests.push(request);
    this.#open += 1;
    this.#requestsById.set(request.id, request);
    this.#requesters.set(request.requester, request.endpoint);
    this.#desk.ask(request);
  }

  /** Tells the policy after the time a message takes to the server. */
  #tellFrom(from: Endpoint, event: PolicyEvent): void {
    this.queue.after(this.#network.serverRttSeconds(from) / 2, () => this.#tell(event));
  }

  #tell(event: PolicyEvent): void {
    for (const command of this.policy.handle(event, this.queue.nowSeconds)) this.#send(command);
  }

  #send(command: PolicyCommand): void {
    const to = this.#addressee(command);
    if (to === undefined) return;
    this.queue.after(this.#network.serverRttSeconds(to) / 2, () => this.#carryOut(command));
  }

  #addressee(command: PolicyCommand): Endpoint | undefined {
    if (command.type === 'assign' || command.type === 'probe') return this.peers.get(command.peer)?.endpoint;
    return this.#requestsById.get(command.requestId)?.endpoint;
  }

  #carryOut(command: PolicyCommand): void {
    switch (command.type) {
      case 'assign': {
        const peer = this.peers.get(command.peer);
        if (peer?.isAlive === true) peer.load(command.slice);
        break;
      }
      case 'probe':
        for (const other of command.peers) this.#linksOf(command.peer).add(other);
        break;
      case 'route': {
        const request = this.#requestsById.get(command.requestId);
        if (request !== undefined) this.#desk.routed(request, command.hops);
        break;
      }
      case 'refuse': {
        const request = this.#requestsById.get(command.requestId);
        if (request !== undefined) this.#desk.refused(request, command.reason, command.error);
        break;
      }
    }
  }

  #linksOf(peer: PeerId): Set<PeerId> {
    let links = this.#linksToReport.get(peer);
    if (links === undefined) {
      links = new Set();
      this.#linksToReport.set(peer, links);
    }
    return links;
  }

  #ping(from: PeerId, to: PeerId): number {
    const a = this.peers.get(from)?.endpoint ?? this.#requesters.get(from);
    const b = this.peers.get(to)?.endpoint ?? this.#requesters.get(to);
    return a === undefined || b === undefined ? Infinity : this.#network.ping(a, b, this.#pings);
  }
}

function between([least, most]: readonly [number, number], share: number): number {
  return least + share * (most - least);
}

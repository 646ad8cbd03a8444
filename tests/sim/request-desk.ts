import { afterToken } from '../../src/client/retry.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import type { Hop } from '../../src/protocol/route.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import { CacheReservations } from './cache-reservations.ts';
import type { EventQueue } from './event-queue.ts';
import type { Meter } from './meter.ts';
import type { Endpoint, Network } from './network.ts';
import type { PlannedRows } from './plan-step.ts';
import type { PolicyEvent, PolicyTraits } from './policy.ts';
import type { RetryRule } from './retry-rule.ts';
import type { Run, SimulatedRequest } from './run.ts';
import type { SimulatedPeer } from './simulated-peer.ts';
import type { StageSequence } from './stage-sequence.ts';

/** Header of a frame, and what a row of activations adds per element: halves. */
const FRAME_BYTES = 64;
const BYTES_PER_ELEMENT = 2;
/** Of a token on its way to the first hop, or of a prompt, per token. */
const TOKEN_BYTES = 12;

export interface DeskWorld {
  readonly queue: EventQueue;
  readonly network: Network;
  readonly card: ModelCard;
  readonly traits: PolicyTraits;
  readonly retryRule: RetryRule;
  readonly meter: Meter;
  readonly peers: ReadonlyMap<PeerId, SimulatedPeer>;
  /** Tells the policy, after the time a message takes from this endpoint to the server. */
  tell(event: PolicyEvent, from: Endpoint): void;
  onEnded(request: SimulatedRequest): void;
}

/** What a hop sends to another device when a step has ended. */
interface Frame {
  readonly to: Endpoint;
  sizeBytes: number;
  readonly items: { readonly run: Run; readonly hopIndex: number; readonly rows: number }[];
}

/** The life of requests: asking for a route, walking it token by token, losing it, and what comes after. */
export class RequestDesk {
  readonly #reservations = new CacheReservations();
  readonly #runsOver = new Map<PeerId, Set<Run>>();
  #runs = 0;

  constructor(private readonly world: DeskWorld) {}

  /** A request wants a route. @param previous the route that it lost. */
  ask(request: SimulatedRequest, previous: readonly Hop[] = []): void {
    const event: PolicyEvent = {
      type: 'request',
      requestId: request.id,
      requester: request.requester,
      promptTokens: request.promptTokens + request.tokens,
      maxTokens: request.maxTokens - request.tokens,
      attempt: request.retry.epoch,
      exclude: request.retry.exclude,
      previous,
    };
    this.world.tell(event, request.endpoint);
  }

  /** The policy's answer got to the requester. Ignored when it does not wait for one. */
  routed(request: SimulatedRequest, hops: readonly Hop[]): void {
    if (request.state !== 'asking') return;
    const before = request.run;
    const run: Run = {
      request,
      hops,
      age: this.#runs++,
      promptRows: request.promptTokens + request.tokens,
      firstTokenAt: Infinity,
      lastTokenAt: Infinity,
      tokens: 0,
      isOver: false,
    };
    request.state = 'running';
    request.everRouted = true;
    request.run = run;
    for (const { peer } of hops) this.#runsOf(peer).add(run);
    if (this.world.traits.cacheUse === 'in-advance') {
      const full = this.#reservations.take(run, request.maxTokens - request.tokens, this.#peersOf(run));
      if (full !== null) {
        const roundTrip = this.world.network.rttSeconds(full.endpoint, request.endpoint);
        this.world.queue.after(roundTrip, () => this.#turnAway(full, run, before));
        return;
      }
    }
    this.#begin(run, before);
  }

  refused(request: SimulatedRequest, reason: 'busy' | 'no-route', words?: SkeinError): void {
    if (request.state !== 'asking') return;
    this.#askLater(request, words ?? new SkeinError(reason, 'The policy refused the request.'), null);
  }

  /** A device died; its requests notice after a while. */
  peerDied({ id, noticedAt }: SimulatedPeer): void {
    const runs = [...this.#runsOf(id)];
    if (runs.length === 0) return;
    this.world.queue.at(noticedAt, () => {
      for (const run of runs) this.#fail(run, id);
    });
  }

  /** A peer says that it cannot go on with these. */
  stageFailed(peer: SimulatedPeer, runs: readonly Run[]): void {
    for (const run of runs) {
      const wayBack = this.world.network.rttSeconds(peer.endpoint, run.request.endpoint) / 2;
      this.world.queue.after(wayBack, () => this.#fail(run, peer.id));
    }
  }

  /**
   * The requester hears that a hop has no room for its request.
   * @param latest the run that began last: what hops have of it stays until there is another route.
   */
  #turnAway(peer: SimulatedPeer, run: Run, latest: Run | null): void {
    const { request } = run;
    if (run.isOver || request.run !== run) return;
    this.#stop(run);
    request.run = latest;
    const error = new SkeinError('busy', `Peer ${peer.id} has no room for another request.`, {
      data: { peer: peer.id },
    });
    this.#askLater(request, error, run.hops);
  }

  /** A step ended: rows go to the next hops, tokens to requesters and first hops. */
  stepEnded(peer: SimulatedPeer, outputs: readonly PlannedRows[]): void {
    const { card } = this.world;
    const frames = new Map<number, Frame>();
    for (const { sequence, rows } of outputs) {
      const { run, hopIndex } = sequence;
      if (run.isOver) continue;
      const isLast = hopIndex === run.hops.length - 1;
      if (!isLast) {
        const bytes = rows * card.hiddenSize * BYTES_PER_ELEMENT;
        this.#addToFrame(frames, run, hopIndex + 1, rows, bytes);
      } else if (sequence.emittedRows >= run.promptRows + run.tokens) this.#token(peer, run, frames);
    }
    for (const frame of frames.values()) this.#send(peer.endpoint, frame);
  }

  #addToFrame(frames: Map<number, Frame>, run: Run, hopIndex: number, rows: number, bytes: number): void {
    const next = this.#peerAt(run, hopIndex);
    if (next === undefined) return;
    let frame = frames.get(next.endpoint.address);
    if (frame === undefined) {
      frame = { to: next.endpoint, sizeBytes: FRAME_BYTES, items: [] };
      frames.set(next.endpoint.address, frame);
    }
    frame.sizeBytes += bytes;
    frame.items.push({ run, hopIndex, rows });
  }

  #send(from: Endpoint, frame: Frame): void {
    const { queue, network } = this.world;
    queue.at(network.arrival(from, frame.to, frame.sizeBytes, queue.nowSeconds), () => {
      for (const { run, hopIndex, rows } of frame.items) this.#arrive(run, hopIndex, rows);
    });
  }

  #arrive(run: Run, hopIndex: number, rows: number): void {
    const hop = run.hops[hopIndex];
    const peer = this.#peerAt(run, hopIndex);
    if (run.isOver || hop === undefined) return;
    // Nobody answers there: the requester notices when all others do, or, if they have, as soon as nobody takes the call.
    if (peer?.isAlive !== true) {
      const { queue, traits } = this.world;
      const soonest = queue.nowSeconds + traits.notice.closed.request[0];
      queue.at(Math.max(soonest, peer?.noticedAt ?? soonest), () => this.#fail(run, hop.peer));
    } else if (!peer.holds(hop)) this.stageFailed(peer, [run]);
    else {
      const sequence = peer.sequence(run);
      if (sequence !== undefined) peer.addRows(sequence, rows);
      else if (peer.hasOpening) peer.addRows(peer.open(run, hop, hopIndex), rows);
      else {
        const wayBack = this.world.network.rttSeconds(peer.endpoint, run.request.endpoint) / 2;
        this.world.queue.after(wayBack, () => this.#turnAway(peer, run, run));
      }
    }
  }

  #token(peer: SimulatedPeer, run: Run, frames: Map<number, Frame>): void {
    const { queue, network, meter, traits } = this.world;
    const { request } = run;
    const now = queue.nowSeconds;
    const arrival = network.arrival(peer.endpoint, request.endpoint, TOKEN_BYTES, now);
    run.tokens += 1;
    request.tokens += 1;
    if (request.retry.failures + request.retry.waits > 0) request.retry = afterToken(request.retry);
    if (request.tokens === 1) request.firstTokenAt = arrival;
    if (run.tokens === 1) run.firstTokenAt = arrival;
    run.lastTokenAt = arrival;
    if (request.tokens > request.mostTokens) {
      request.mostTokens = request.tokens;
      if (meter.isOpen(now)) meter.tokens += 1;
    }
    if (request.tokens === request.answerTokens) {
      this.#stop(run);
      queue.at(arrival, () => this.#end(request, 'answered'));
    } else if (traits.ring === 'straight') this.#addToFrame(frames, run, 0, 1, TOKEN_BYTES);
    else queue.at(arrival, () => this.#fromRequester(run, 1, TOKEN_BYTES));
  }

  /** Rows that the requester sends to the first hop. */
  #fromRequester(run: Run, rows: number, sizeBytes: number): void {
    const first = this.#peerAt(run, 0);
    if (run.isOver || first === undefined) return;
    const { queue, network } = this.world;
    const arrival = network.arrival(run.request.endpoint, first.endpoint, sizeBytes, queue.nowSeconds);
    queue.at(arrival, () => this.#arrive(run, 0, rows));
  }

  #begin(run: Run, before: Run | null): void {
    const canReplay = this.world.traits.afterLoss === 'replay' && (before?.tokens ?? 0) > 0;
    if (before === null || !canReplay) {
      if (before !== null) this.#close(before);
      this.#fromRequester(run, run.promptRows, run.promptRows * TOKEN_BYTES);
      return;
    }
    // Every hop is to have all rows but that of the latest token, which then takes the usual way.
    const rows = run.promptRows - 1;
    for (const [hopIndex, hop] of run.hops.entries()) this.#resume(run, before, hop, hopIndex, rows);
    this.#close(before);
    this.#fromRequester(run, 1, TOKEN_BYTES);
  }

  /** A hop that stays keeps its cache; the inputs of a new one come from the requester, who had kept them. */
  #resume(run: Run, before: Run, hop: Hop, hopIndex: number, rows: number): void {
    const peer = this.#peerAt(run, hopIndex);
    if (peer?.holds(hop) !== true) return;
    const kept = peer.sequence(before);
    if (kept !== undefined && sameLayers(kept, hop)) {
      peer.adopt(kept, run, hopIndex, rows);
      return;
    }
    const { queue, network, card } = this.world;
    const bytes = rows * (hopIndex === 0 ? TOKEN_BYTES : card.hiddenSize * BYTES_PER_ELEMENT);
    const sequence = peer.open(run, hop, hopIndex);
    sequence.emittedRows = rows;
    queue.at(network.arrival(run.request.endpoint, peer.endpoint, bytes, queue.nowSeconds), () => {
      if (!run.isOver && peer.sequence(run) === sequence) peer.addRows(sequence, rows);
    });
  }

  #fail(run: Run, culprit: PeerId): void {
    const { request } = run;
    if (run.isOver || request.run !== run) return;
    const { afterLoss } = this.world.traits;
    this.#stop(run, afterLoss === 'replay');
    request.losses += 1;
    if (afterLoss === 'lost') {
      this.#end(request, 'lost');
      return;
    }
    if (afterLoss === 'restart') request.tokens = 0;
    const error = new SkeinError('peer-lost', `Peer ${culprit} is gone.`, { data: { peer: culprit } });
    this.#askLater(request, error, run.hops);
  }

  #askLater(request: SimulatedRequest, error: SkeinError, lost: readonly Hop[] | null): void {
    const { card, retryRule, queue } = this.world;
    const { id: requestId, retry } = request;
    const route = lost === null ? null : { requestId, epoch: retry.epoch, model: card.id, hops: [...lost] };
    const attempt = retryRule(retry, error, route);
    request.state = 'asking';
    if (attempt === null) {
      this.#end(request, request.everRouted ? 'lost' : 'refused');
      return;
    }
    request.retry = attempt.state;
    queue.after(attempt.delayMs / 1000, () => this.ask(request, lost ?? []));
  }

  /** The run is over. @param keepCaches until the request has another route. */
  #stop(run: Run, keepCaches = false): void {
    run.isOver = true;
    for (const { peer } of run.hops) this.#runsOver.get(peer)?.delete(run);
    if (!keepCaches) this.#close(run);
    this.#reservations.remove(run);
  }

  #close(run: Run): void {
    for (const { peer } of run.hops) this.world.peers.get(peer)?.close(run);
  }

  #end(request: SimulatedRequest, state: 'answered' | 'lost' | 'refused'): void {
    const { run } = request;
    if (run !== null) this.#close(run);
    request.state = state;
    request.endedAt = this.world.queue.nowSeconds;
    const hasOutcome = run !== null && run.tokens > 1;
    const outcome = hasOutcome
      ? { tokens: run.tokens - 1, seconds: run.lastTokenAt - run.firstTokenAt }
      : null;
    request.run = null;
    const { id: requestId, requester } = request;
    this.world.tell({ type: 'ended', requestId, requester, outcome }, request.endpoint);
    this.world.onEnded(request);
  }

  #runsOf(peer: PeerId): Set<Run> {
    let runs = this.#runsOver.get(peer);
    if (runs === undefined) {
      runs = new Set();
      this.#runsOver.set(peer, runs);
    }
    return runs;
  }

  #peersOf(run: Run): SimulatedPeer[] {
    return run.hops.flatMap(({ peer }) => this.world.peers.get(peer) ?? []);
  }

  #peerAt(run: Run, hopIndex: number): SimulatedPeer | undefined {
    const hop = run.hops[hopIndex];
    return hop === undefined ? undefined : this.world.peers.get(hop.peer);
  }
}

function sameLayers({ hop }: StageSequence, other: Hop): boolean {
  return hop.layerStart === other.layerStart && hop.layerEnd === other.layerEnd;
}

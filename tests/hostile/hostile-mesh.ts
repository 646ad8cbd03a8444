import { generate } from '../../src/client/generate.ts';
import type { GenerateDeps, GenerateResult } from '../../src/client/generate.ts';
import { LocalHub } from '../../src/mesh/local-hub.ts';
import { ServedStage } from '../../src/mesh/served-stage.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { ErrorCode } from '../../src/protocol/errors.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import type { Hop, Route } from '../../src/protocol/route.ts';
import { GREEDY } from '../../src/protocol/sampling.ts';
import type { FrameTransport } from '../../src/protocol/transport.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { AddingMachine, expectedTokens } from '../unit/mesh/adding-machine.ts';
import { MODEL, peerId, settled } from '../unit/mesh/local-mesh.ts';
import { ManualClock } from '../unit/mesh/manual-clock.ts';
import { MeddlingTransport } from './meddling.ts';
import type { Meddling } from './meddling.ts';

const STAGES = 3;
const LAYERS_PER_STAGE = 2;
const LAYER_COUNT = STAGES * LAYERS_PER_STAGE;
const CHUNK_ROWS = 4;
/** Virtual time between two looks. */
const TICK_MS = 50;

export const LIAR = peerId(0xbad);

export interface HostileOptions {
  /** The hop that the liar serves; it is preferred there. */
  readonly slot: number;
  readonly meddle: (liar: LiarParts) => Meddling;
  readonly maxRequests?: number;
  /** Honest stages for every slice; two by default. */
  readonly replicas?: number;
  /** Requesters whose routes lead over the liar at first; all by default. */
  readonly givenTo?: readonly number[];
  /** Stands between every honest peer and the hub. */
  readonly wrap?: (transport: FrameTransport) => FrameTransport;
}

export interface LiarParts {
  readonly transport: FrameTransport;
  readonly machine: AddingMachine;
  readonly clock: ManualClock;
  /** All peers but itself. */
  readonly others: readonly PeerId[];
}

/** How an answer went. */
export interface Outcome {
  readonly result: GenerateResult | null;
  readonly error: SkeinError | null;
  /** What the model answers. */
  readonly expected: readonly number[];
  /** Virtual. */
  readonly seconds: number;
  /** Of all routes taken. */
  readonly routes: readonly Route[];
}

interface Stage {
  readonly hop: Hop;
  readonly machine: AddingMachine;
  readonly served: ServedStage;
}

/** Honest stages for every slice, one liar, and a server that gives the liar to whoever does not exclude it. */
export class HostileMesh {
  readonly hub = new LocalHub();
  readonly clock = new ManualClock();
  readonly suspicions: { readonly peer: PeerId; readonly code: ErrorCode }[] = [];
  readonly honest: readonly Stage[];
  readonly liar: Stage;
  readonly #slot: number;
  readonly #givenTo: readonly number[] | undefined;
  readonly #wrap: (transport: FrameTransport) => FrameTransport;

  constructor(options: HostileOptions) {
    const { slot, meddle, maxRequests = 64, replicas = 2, givenTo } = options;
    const wrap = options.wrap ?? ((transport: FrameTransport) => transport);
    this.#slot = slot;
    this.#givenTo = givenTo;
    this.#wrap = wrap;
    const honestIds = Array.from({ length: STAGES * replicas }, (_, index) => peerId(index + 1));
    this.honest = honestIds.map((peer, index) =>
      this.#stage(peer, index % STAGES, maxRequests, wrap(this.hub.transport(peer))),
    );
    const transport = this.hub.transport(LIAR);
    const machine = machineAt(slot, maxRequests);
    const others = [...honestIds, ...[0, 1, 2].map(requesterId)];
    const meddling = new MeddlingTransport(
      transport,
      meddle({ transport, machine, clock: this.clock, others }),
    );
    this.liar = this.#serve(LIAR, slot, machine, meddling);
  }

  /** @param index of the requester, each of which is a peer of its own. */
  async generate(prompt: readonly number[], maxTokens: number, index = 0): Promise<Outcome> {
    const routes: Route[] = [];
    const startedAtMs = this.clock.now();
    const request = {
      model: MODEL,
      prompt: { kind: 'ids', ids: prompt },
      maxTokens,
      sampling: GREEDY,
    } as const;
    let result: GenerateResult | null = null;
    let error: SkeinError | null = null;
    try {
      for await (const event of generate(request, this.#depsOf(index))) {
        if (event.type === 'route') routes.push(event.route);
        if (event.type === 'done') result = event.result;
      }
    } catch (thrown) {
      error = SkeinError.from(thrown);
    }
    const seconds = (this.clock.now() - startedAtMs) / 1000;
    return { result, error, expected: expectedTokens(prompt, LAYER_COUNT, maxTokens), seconds, routes };
  }

  /** Lets time pass until all are done, a day at most. */
  async finish<Value>(outcomes: readonly Promise<Value>[], mostMs = 86_400_000): Promise<Value[]> {
    const all = Promise.all(outcomes);
    let isDone = () => false;
    const end = () => (isDone = () => true);
    all.then(end, end);
    for (let passedMs = 0; !isDone() && passedMs < mostMs; passedMs += TICK_MS) {
      await settled();
      if (!isDone()) this.clock.advance(TICK_MS);
    }
    if (!isDone()) throw new Error(`Nothing came to an end in ${mostMs / 1000} s.`);
    return all;
  }

  async pass(ms: number): Promise<void> {
    for (let passedMs = 0; passedMs < ms; passedMs += 1000) {
      this.clock.advance(1000);
      await settled();
    }
  }

  /** What runs or waits at honest stages. */
  get openRequests(): number {
    return this.honest.reduce(
      (sum, { machine, served }) =>
        sum + machine.sequences.size + served.activeRequests + served.suspendedRequests,
      0,
    );
  }

  get suspects(): PeerId[] {
    return [...new Set(this.suspicions.map(({ peer }) => peer))];
  }

  #depsOf(index: number): GenerateDeps {
    const { clock } = this;
    return {
      transport: this.#wrap(this.hub.transport(requesterId(index))),
      // Cast: of the tokenizer nothing else is asked where prompts are ids.
      tokenizer: {
        stopTokenIds: [],
        streamDecoder: () => ({ push: () => '', flush: () => '' }),
      } as unknown as Tokenizer,
      requestRoute: (query) => this.#route(query, this.#givenTo?.includes(index) ?? true),
      endRoute: () => undefined,
      suspect: (_requestId, peer, { code }) => this.suspicions.push({ peer, code }),
      clock,
      now: () => clock.now(),
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          const cancel = clock.after(ms, resolve);
          signal.addEventListener('abort', () => {
            cancel();
            reject(signal.reason as Error);
          });
        }),
    };
  }

  /** The liar where it is not excluded; else whoever is not suspected, as far as there is anybody. */
  #route(query: Parameters<GenerateDeps['requestRoute']>[0], isGivenLiar: boolean): Promise<Route> {
    const hops = Array.from({ length: STAGES }, (_, slot) => {
      const honest = this.honest.filter((_stage, index) => index % STAGES === slot);
      const all = slot === this.#slot && isGivenLiar ? [this.liar, ...honest] : honest;
      const allowed = all.map(({ hop }) => hop).filter(({ peer }) => !query.exclude.includes(peer));
      return allowed.find(({ peer }) => !this.suspects.includes(peer)) ?? allowed[0];
    });
    const found = hops.filter((hop) => hop !== undefined);
    if (found.length < STAGES) return Promise.reject(new SkeinError('no-route', 'Layers have no peer.'));
    const { requestId, epoch, model } = query;
    return Promise.resolve({ requestId, epoch, model, hops: found });
  }

  #stage(peer: PeerId, slot: number, maxRequests: number, transport: FrameTransport): Stage {
    return this.#serve(peer, slot, machineAt(slot, maxRequests), transport);
  }

  #serve(peer: PeerId, slot: number, executor: AddingMachine, transport: FrameTransport): Stage {
    const layerStart = slot * LAYERS_PER_STAGE;
    const layerEnd = layerStart + LAYERS_PER_STAGE;
    const { clock } = this;
    const served = new ServedStage({
      transport,
      executor,
      model: MODEL,
      layerStart,
      layerEnd,
      wireFormat: 'f16',
      clock,
    });
    return { hop: { peer, layerStart, layerEnd }, machine: executor, served };
  }
}

function requesterId(index: number): PeerId {
  return peerId(0xf0 + index);
}

function machineAt(slot: number, maxRequests: number): AddingMachine {
  const layerStart = slot * LAYERS_PER_STAGE;
  return new AddingMachine({
    layerStart,
    layerEnd: layerStart + LAYERS_PER_STAGE,
    layerCount: LAYER_COUNT,
    chunkRows: CHUNK_ROWS,
    maxRequests,
  });
}

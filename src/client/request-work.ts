import { RouteSession } from '../mesh/route-session.ts';
import type { LeftHop, RouteEvent } from '../mesh/route-session.ts';
import { BlockHashChain } from '../protocol/block-hashes.ts';
import { EpochKeys } from '../protocol/epoch-keys.ts';
import { SkeinError } from '../protocol/errors.ts';
import { newRequestId } from '../protocol/ids.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { Hop, Route } from '../protocol/route.ts';
import type { Deadline } from './deadline.ts';
import type { EventQueue } from './event-queue.ts';
import type { GenerateDeps, GenerateRequest } from './generation.ts';
import type { RequestEffect, RequestHappening } from './request-state.ts';
import { samplingAfter } from './sampling-after.ts';
import { TokenMeter } from './token-meter.ts';

export interface RequestWorkOptions {
  readonly request: GenerateRequest;
  readonly promptIds: readonly number[];
  readonly maxTokens: number;
  readonly deps: GenerateDeps;
  readonly deadline: Deadline;
  /** Gets what comes of the work. */
  readonly events: EventQueue;
}

/** The hands of a request: asks for routes, opens them and leaves them, as the state machine says. */
export class RequestWork {
  readonly #options: RequestWorkOptions;
  readonly #requestId = newRequestId();
  /** Over the prompt and the answer so far. */
  readonly #blockHashes: BlockHashChain;
  readonly #epochKeys = new EpochKeys();
  readonly #tokenIds: number[] = [];
  /** Ends what is waited for. */
  readonly #over = new AbortController();
  #session: RouteSession | null = null;
  /** First hops of earlier routes, which may still hold what they computed. */
  readonly #left = new Map<string, LeftHop>();
  #meter = new TokenMeter();
  #cachedTokens = 0;

  constructor(options: RequestWorkOptions) {
    this.#options = options;
    this.#blockHashes = new BlockHashChain(options.request.model);
    this.#blockHashes.append(options.promptIds);
  }

  /** Tokens that the last route did not compute again. */
  get cachedTokens(): number {
    return this.#cachedTokens;
  }

  perform(effect: RequestEffect): void {
    switch (effect.type) {
      case 'ask':
        void this.#ask(effect.epoch, effect.exclude);
        break;
      case 'pause':
        void this.#pause(effect.epoch, effect.delayMs);
        break;
      case 'start':
        this.#start(effect.route, effect.keepsCache);
        break;
      case 'leave':
        this.#leave();
        break;
      case 'suspect':
        this.#suspect(effect.peer, effect.error);
        break;
      case 'take':
        this.#tokenIds.push(effect.token.tokenId);
        this.#blockHashes.append([effect.token.tokenId]);
        this.#meter.count(effect.atMs);
        break;
      default:
    }
  }

  /** Idempotent. Whatever is open is closed, and the scheduler told. */
  end(): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#session?.close();
    for (const left of this.#left.values()) left.close();
    this.#options.deps.endRoute(this.#requestId, this.#meter.outcome ?? undefined);
  }

  async #ask(epoch: number, exclude: readonly PeerId[]): Promise<void> {
    const { request, promptIds, maxTokens, deps, deadline } = this.#options;
    const { remainingMs: timeLimitMs } = deadline;
    const { model } = request;
    const tokens = promptIds.length + maxTokens;
    const query = { model, requestId: this.#requestId, epoch, exclude, tokens, timeLimitMs };
    try {
      const route = await deps.requestRoute(query, this.#untilOver(), (position) =>
        this.#post({ type: 'queued', epoch, position }),
      );
      this.#post({ type: 'routed', epoch, route });
    } catch (thrown) {
      this.#post({ type: 'unrouted', epoch, error: SkeinError.from(thrown) });
    }
  }

  async #pause(epoch: number, delayMs: number): Promise<void> {
    try {
      await this.#options.deps.sleep(delayMs, this.#untilOver());
      this.#post({ type: 'woke', epoch });
    } catch {
      // The request is over, which is known.
    }
  }

  #start(route: Route, keepsCache: boolean): void {
    const { request, promptIds, maxTokens, deps, deadline } = this.#options;
    const { transport, clock, tokenizer } = deps;
    const { epoch } = route;
    const soFar = [...promptIds, ...this.#tokenIds];
    this.#meter = new TokenMeter();
    try {
      this.#session = new RouteSession({
        transport,
        request: {
          route,
          requester: transport.self,
          promptTokens: soFar.length,
          timeLimitMs: deadline.remainingMs,
          maxTokens: maxTokens - this.#tokenIds.length,
          stopTokenIds: [...tokenizer.stopTokenIds],
          ...samplingAfter(request.sampling, promptIds, this.#tokenIds),
          constraint:
            request.constraint === undefined
              ? null
              : { structuralTag: request.constraint, answer: [...this.#tokenIds] },
          keepsCache,
          epochKey: this.#epochKeys.at(epoch),
        },
        promptTokenIds: Uint32Array.from(soFar),
        blockHashes: this.#blockHashes,
        onEvent: (event) => this.#hear(route, event),
        ...(clock && { clock }),
      });
      this.#session.open();
    } catch (thrown) {
      this.#post({ type: 'lost', epoch, error: SkeinError.from(thrown), accuser: null });
    }
  }

  #hear(route: Route, event: RouteEvent): void {
    switch (event.type) {
      case 'opened':
        this.#cachedTokens = event.cachedTokens;
        this.#closeLeft(route);
        break;
      case 'token':
        this.#post({ type: 'token', epoch: event.token.epoch, token: event.token });
        break;
      case 'lost':
        this.#post({ type: 'lost', epoch: route.epoch, error: event.error, accuser: event.accuser });
    }
  }

  #leave(): void {
    const left = this.#session?.leave() ?? null;
    this.#session = null;
    if (left !== null) this.#left.set(hopKey(left.hop), left);
  }

  /** Not before the new route is open: an end that travels down the old one would reach hops that both share. */
  #closeLeft({ hops }: Route): void {
    const inUse = new Set(hops.map(hopKey));
    for (const [key, left] of this.#left) if (!inUse.has(key)) left.close();
    this.#left.clear();
  }

  #suspect(peer: PeerId, error: SkeinError): void {
    const { deps } = this.#options;
    if (peer !== deps.transport.self) deps.suspect?.(this.#requestId, peer, error);
  }

  #untilOver(): AbortSignal {
    return AbortSignal.any([this.#options.deadline.signal, this.#over.signal]);
  }

  #post(event: RequestHappening): void {
    this.#options.events.push({ ...event, atMs: this.#options.deps.now() });
  }
}

function hopKey({ peer, layerStart, layerEnd }: Hop): string {
  return `${peer} ${layerStart} ${layerEnd}`;
}

import type { RequestId } from '../protocol/ids.ts';
import type { Route } from '../protocol/route.ts';
import type { ClientMessage } from '../protocol/signaling.ts';
import type { Clock } from './clock.ts';
import type { RouteOutcome, RouteQuery } from './signaling-client.ts';

/** A request on its way from the wish for a route to the end of it. */
export interface LiveRequest {
  routed(route: Route): void;
  /** It got no route, this time. */
  denied(): void;
}

interface Entry {
  readonly tokens: number;
  readonly endsAtMs: number;
  /** The latest it got, also while it asks for another: who lost a route goes first in line. */
  route: Route | null;
}

/** This peer's own requests that got routes, for a server that has to be told of them again. */
export class LiveRequests {
  readonly #clock: Clock;
  readonly #live = new Map<RequestId, Entry>();
  /** Ended while there was nobody to tell; only of requests that got a route. */
  readonly #toEnd = new Map<RequestId, RouteOutcome | undefined>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  begin({ requestId, tokens, timeLimitMs }: RouteQuery): LiveRequest {
    const route = this.#live.get(requestId)?.route ?? null;
    const entry: Entry = { tokens, endsAtMs: this.#clock.now() + timeLimitMs, route };
    this.#live.set(requestId, entry);
    return {
      routed: (next) => void (entry.route = next),
      denied: () => {
        if (entry.route === null && this.#live.get(requestId) === entry) this.#live.delete(requestId);
      },
    };
  }

  end(requestId: RequestId): void {
    this.#live.delete(requestId);
  }

  /** As `end`, to be told after the resume. */
  endLater(requestId: RequestId, outcome: RouteOutcome | undefined): void {
    const entry = this.#live.get(requestId);
    this.#live.delete(requestId);
    if (entry?.route) this.#toEnd.set(requestId, outcome);
  }

  /** What the server has to know first: who is done, then who has which route. */
  afterResume(): ClientMessage[] {
    const ended = [...this.#toEnd].map(([requestId, outcome]): ClientMessage => ({
      type: 'route-end',
      requestId,
      ...(outcome && { outcome }),
    }));
    this.#toEnd.clear();
    const nowMs = this.#clock.now();
    const resumed = [...this.#live.values()].flatMap(({ route, tokens, endsAtMs }): ClientMessage[] => {
      const timeLimitMs = Math.ceil(endsAtMs - nowMs);
      return route === null || timeLimitMs < 1 ? [] : [{ type: 'route-resume', route, tokens, timeLimitMs }];
    });
    return [...ended, ...resumed];
  }
}

import type { GenerateResult } from '../../client/generate.ts';
import type { Route } from '../../protocol/route.ts';

const SHORT_PEER_LENGTH = 6;

/** What a chat came to so far. */
export class ChatStats {
  #answers = 0;
  #tokens = 0;
  /** Of answers with a rate: tokens after the first, and the seconds they took. */
  #timedTokens = 0;
  #timedSeconds = 0;
  #reroutes = 0;
  #lastRoute: Route | null = null;

  routed(route: Route): void {
    this.#lastRoute = route;
  }

  done({ tokenIds, tokensPerSecond, reroutes }: GenerateResult): void {
    this.#answers += 1;
    this.#tokens += tokenIds.length;
    this.#reroutes += reroutes.length;
    if (tokensPerSecond === null) return;
    this.#timedTokens += tokenIds.length - 1;
    this.#timedSeconds += (tokenIds.length - 1) / tokensPerSecond;
  }

  lines(): string[] {
    const rate =
      this.#timedSeconds > 0 ? `, ${(this.#timedTokens / this.#timedSeconds).toFixed(1)} tokens/s` : '';
    const lost = this.#reroutes === 0 ? '' : `, ${count(this.#reroutes, 'route')} lost on the way`;
    const said = `${count(this.#answers, 'answer')}, ${count(this.#tokens, 'token')}${rate}${lost}`;
    return this.#lastRoute === null ? [said] : [said, `The last over ${routeWords(this.#lastRoute)}`];
  }
}

/** After an answer: `34 tokens, 12.3 tokens/s, the first after 0.42 s`. */
export function answerWords({ tokenIds, tokensPerSecond, timeToFirstTokenMs }: GenerateResult): string {
  const rate = tokensPerSecond === null ? '' : `, ${tokensPerSecond.toFixed(1)} tokens/s`;
  return `${count(tokenIds.length, 'token')}${rate}, the first after ${(timeToFirstTokenMs / 1000).toFixed(2)} s`;
}

/** `3f2a01 (layers 0–3), 77c0de (layers 4–7)`. */
export function routeWords({ hops }: Pick<Route, 'hops'>): string {
  return hops
    .map(({ peer, layerStart, layerEnd }) => {
      const layers =
        layerEnd - layerStart === 1 ? `layer ${layerStart}` : `layers ${layerStart}–${layerEnd - 1}`;
      return `${peer.slice(0, SHORT_PEER_LENGTH)} (${layers})`;
    })
    .join(', ');
}

function count(value: number, noun: string): string {
  return `${value} ${noun}${value === 1 ? '' : 's'}`;
}

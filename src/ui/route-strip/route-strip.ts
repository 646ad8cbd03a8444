import { html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { rerouteWords } from '../../client/reroute-words.ts';
import type { Reroute } from '../../client/request-state.ts';
import type { PeerId } from '../../protocol/ids.ts';
import type { Route } from '../../protocol/route.ts';
import { baseStyles } from '../theme/base.styles.ts';
import { countOf, formatLayers, shortPeer } from '../text/format.ts';
import { routeStripStyles } from './route-strip.styles.ts';

/** Losses that are told one by one; of more only the number matters. */
const TOLD_LOSSES = 3;

/** The tabs an answer went through, in order, and those it went on without. @slot - facts about the answer, such as its speed. */
@customElement('skein-route-strip')
export class RouteStrip extends LitElement {
  static override readonly styles = [baseStyles, routeStripStyles];

  @property({ attribute: false }) route: Route | null = null;
  /** Marked as “this tab” where it is a hop. */
  @property({ attribute: false }) self: PeerId | null = null;
  /** Tabs that were lost on the way, each with the pause it cost. */
  @property({ attribute: false }) reroutes: readonly Reroute[] = [];

  override render() {
    if (this.route === null) return nothing;
    return html`
      <div class="strip">
        <ol aria-label="Tabs that computed this answer" data-testid="route">
          ${this.route.hops.map(
            ({ peer, layerStart, layerEnd }) => html`
              <li
                title="Tab ${peer}"
                data-peer=${peer}
                data-layer-start=${layerStart}
                data-layer-end=${layerEnd}
              >
                <span class="peer">${shortPeer(peer)}</span>
                ${peer === this.self ? html`<span class="self">this tab</span>` : nothing}
                <span>${formatLayers(layerStart, layerEnd)}</span>
              </li>
            `,
          )}
        </ol>
        <slot></slot>
      </div>
      ${this.#renderLosses()}
    `;
  }

  #renderLosses() {
    if (this.reroutes.length === 0) return nothing;
    const earlier = this.reroutes.length - TOLD_LOSSES;
    return html`
      <ul aria-label="Tabs that were lost on the way" data-testid="losses">
        ${earlier > 0 ? html`<li>${countOf(earlier, 'loss', 'losses')} before</li>` : nothing}
        ${this.reroutes.slice(-TOLD_LOSSES).map((reroute) => html`<li>${rerouteWords(reroute)}</li>`)}
      </ul>
    `;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-route-strip': RouteStrip;
  }
}

import { html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { PeerId } from '../../protocol/ids.ts';
import type { Route } from '../../protocol/route.ts';
import { baseStyles } from '../theme/base.styles.ts';
import { formatLayers, shortPeer } from '../text/format.ts';
import { routeStripStyles } from './route-strip.styles.ts';

/** The tabs an answer went through, in order. @slot - facts about the answer, such as its speed. */
@customElement('skein-route-strip')
export class RouteStrip extends LitElement {
  static override readonly styles = [baseStyles, routeStripStyles];

  @property({ attribute: false }) route: Route | null = null;
  /** Marked as “this tab” where it is a hop. */
  @property({ attribute: false }) self: PeerId | null = null;

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
    `;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-route-strip': RouteStrip;
  }
}

import { html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { baseStyles } from '../theme/base.styles.ts';
import { formatLayers } from '../text/format.ts';
import { layerMapStyles } from './layer-map.styles.ts';

export interface LayerRange {
  readonly layerStart: number;
  readonly layerEnd: number;
}

/** A model's layers as a bar: those held here, those held by others, those nobody holds. */
@customElement('skein-layer-map')
export class LayerMap extends LitElement {
  static override readonly styles = [baseStyles, layerMapStyles];

  @property({ type: Number }) layerCount = 0;
  @property({ attribute: false }) mine: LayerRange | null = null;
  /** Slices of the other tabs. */
  @property({ attribute: false }) others: readonly LayerRange[] = [];

  override render() {
    const { mine } = this;
    const cells = Array.from({ length: this.layerCount }, (_, layer) => this.#holder(layer));
    const missing = cells.filter((holder) => holder === 'nobody').length;
    return html`
      <div
        class="bar"
        role="img"
        aria-label=${`${this.layerCount} layers: ${mine ? `${formatLayers(mine.layerStart, mine.layerEnd)} here` : 'none here'}, ${missing} held by nobody`}
        data-testid="layer-map"
        data-layer-start=${mine?.layerStart ?? nothing}
        data-layer-end=${mine?.layerEnd ?? nothing}
        data-layer-count=${this.layerCount}
      >
        ${cells.map((holder) => html`<span class=${holder}></span>`)}
      </div>
      <ul aria-hidden="true">
        <li><span class="here"></span>this tab</li>
        <li><span class="others"></span>other tabs</li>
        <li><span class="nobody"></span>nobody yet</li>
      </ul>
    `;
  }

  #holder(layer: number): 'here' | 'others' | 'nobody' {
    const holds = ({ layerStart, layerEnd }: LayerRange) => layer >= layerStart && layer < layerEnd;
    if (this.mine !== null && holds(this.mine)) return 'here';
    return this.others.some(holds) ? 'others' : 'nobody';
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-layer-map': LayerMap;
  }
}

import { html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { SupportProblem } from '../../contributor/webgpu-support.ts';
import type { MeshMember, ModelCard } from '../../protocol/signaling.ts';
import { baseStyles } from '../theme/base.styles.ts';
import { formatBytes } from '../text/format.ts';
import { suspectWords } from '../text/suspect-words.ts';
import '../layer-map/layer-map.ts';
import { coverageNoticeStyles } from './coverage-notice.styles.ts';

/** Why nobody can answer yet, and the two ways out of it. @fires lend - the person lends this tab's GPU. */
@customElement('skein-coverage-notice')
export class CoverageNotice extends LitElement {
  static override readonly styles = [baseStyles, coverageNoticeStyles];

  @property({ attribute: false }) card: ModelCard | null = null;
  @property({ attribute: false }) members: readonly MeshMember[] = [];
  /** Why this tab cannot lend; null when it can. */
  @property({ attribute: false }) problem: SupportProblem | null = null;
  /** This tab lends already: nothing to offer, only to wait. */
  @property({ type: Boolean }) lending = false;

  override render() {
    const { card } = this;
    if (card === null) return nothing;
    const holders = this.members.filter(({ model, state }) => model === card.id && state === 'serving');
    return html`
      <section aria-labelledby="title" data-testid="uncovered">
        <h2 id="title">
          ${holders.length === 0 ? `No tab holds ${card.id} yet` : `Some layers of ${card.id} have no tab`}
        </h2>
        <p>
          Skein has no computers of its own: the model runs in open browser tabs, each holding some of its
          ${card.layerCount} layers. Answers come as soon as every layer has a tab.
        </p>
        ${this.lending ? nothing : this.#renderOffer(card)}
        <skein-layer-map .layerCount=${card.layerCount} .others=${holders}></skein-layer-map>
        ${suspectWords(this.members, null).map(
          (words) => html`<p class="terms" data-testid="suspect">${words}</p>`,
        )}
      </section>
    `;
  }

  #renderOffer(card: ModelCard) {
    if (this.problem !== null) {
      return html`
        <p data-testid="support-problem">
          <strong>This tab cannot lend a GPU.</strong> ${this.problem.message} ${this.problem.remedy} You can
          still chat here once other tabs hold the model.
        </p>
        <p>Open <a href="/contribute">the contribute page</a> on a device that can.</p>
      `;
    }
    const wholeBytes = card.layerCount * card.bytesPerLayer + card.embeddingBytes + card.headBytes;
    return html`
      <p>
        <button class="primary" @click=${() => this.dispatchEvent(new Event('lend'))}>
          Use this tab’s GPU
        </button>
      </p>
      <p class="terms">
        Downloads up to ${formatBytes(wholeBytes)} and computes here, for you and for others on this mesh,
        until you stop it or close the tab. Or open <a href="/contribute">the contribute page</a> on other
        devices.
      </p>
    `;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-coverage-notice': CoverageNotice;
  }
}

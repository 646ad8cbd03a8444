import { html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { AssignedSlice, ContributorState } from '../../contributor/contributor-state.ts';
import { baseStyles } from '../theme/base.styles.ts';
import { countOf, formatBytes, formatLayers, formatModel, formatTokenRate } from '../text/format.ts';
import { contributorStatusStyles } from './contributor-status.styles.ts';

/** What the lent GPU does right now, in words and numbers. @slot - more facts. @slot actions - buttons. */
@customElement('skein-contributor-status')
export class ContributorStatus extends LitElement {
  static override readonly styles = [baseStyles, contributorStatusStyles];

  @property({ attribute: false }) state: ContributorState = { phase: 'idle' };

  override render() {
    const { state } = this;
    return html`
      <section aria-label="This tab’s GPU" data-testid="contributor" data-phase=${state.phase}>
        <p class="phase" role="status">${phaseWords(state)}</p>
        ${state.phase === 'loading' ? this.#renderProgress(state.loadedBytes, state.totalBytes) : nothing}
        ${state.phase === 'serving' ? this.#renderStats(state) : nothing}
        <slot></slot>
        <div class="actions"><slot name="actions"></slot></div>
      </section>
    `;
  }

  #renderProgress(loadedBytes: number, totalBytes: number) {
    // Before the sizes are known the bar has no value and only says that something happens.
    return totalBytes === 0
      ? html`<progress aria-label="Downloading"></progress>`
      : html`
          <progress aria-label="Downloading" max=${totalBytes} value=${loadedBytes}></progress>
          <p class="detail">${formatBytes(loadedBytes)} of ${formatBytes(totalBytes)}</p>
        `;
  }

  #renderStats({ stats }: Extract<ContributorState, { phase: 'serving' }>) {
    const facts = [
      ['Requests now', stats.activeSequences.toLocaleString('en')],
      ['Tokens computed', stats.tokens.toLocaleString('en')],
      ['Speed', formatTokenRate(stats.tokensPerSecond)],
      ['GPU busy', `${Math.round(stats.busyShare * 100)} %`],
    ] as const;
    return html`
      <dl>
        ${facts.map(
          ([name, value]) => html`
            <div>
              <dt>${name}</dt>
              <dd>${value}</dd>
            </div>
          `,
        )}
      </dl>
    `;
  }
}

function phaseWords(state: ContributorState): string {
  switch (state.phase) {
    case 'idle':
      return 'The GPU is not in use.';
    case 'measuring':
      return 'Measuring the GPU: its memory and its speed…';
    case 'waiting':
      return state.waitingFor === 'server'
        ? 'Waiting for the server to come back…'
        : 'Ready. Waiting for work: the server gives this tab layers when they are needed.';
    case 'loading':
      return `Downloading ${sliceWords(state.slice)}…`;
    case 'serving':
      return `Serving ${sliceWords(state.slice)}.`;
    case 'stopping':
      return `Stopping. Finishing ${countOf(state.activeSequences, 'answer')} first…`;
    case 'failed':
      return 'The GPU is not in use.';
  }
}

function sliceWords({ model, quantization, layerStart, layerEnd, layerCount }: AssignedSlice): string {
  return `${formatLayers(layerStart, layerEnd)} of ${layerCount} of ${formatModel(model, quantization)}`;
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-contributor-status': ContributorStatus;
  }
}

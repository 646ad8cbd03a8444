import { html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { AssignedSlice, ContributorState, PauseReason } from '../../contributor/contributor-state.ts';
import { baseStyles } from '../theme/base.styles.ts';
import { countOf, formatBytes, formatLayers, formatModel, formatTokenRate } from '../text/format.ts';
import { contributorStatusStyles } from './contributor-status.styles.ts';

const SERVER_AWAY =
  'The server is away. Answers under way go on; new ones come to this tab when the server is back.';

const PAUSED: Readonly<Record<PauseReason, string>> = {
  'battery-low': 'Paused: the battery is low. This tab lends its GPU again when the device charges.',
  frozen: 'Paused: the browser put this tab to sleep.',
};

/** What the lent GPU does right now, in words and numbers. @slot - more facts. @slot actions - buttons. */
@customElement('skein-contributor-status')
export class ContributorStatus extends LitElement {
  static override readonly styles = [baseStyles, contributorStatusStyles];

  @property({ attribute: false }) state: ContributorState = { phase: 'idle' };
  /** Whether the connection to the server is lost and will come back. */
  @property({ type: Boolean }) isServerAway = false;

  override render() {
    const { state } = this;
    return html`
      <section aria-label="This tab’s GPU" data-testid="contributor" data-phase=${state.phase}>
        <p class="phase" role="status">${phaseWords(state)}</p>
        ${state.phase === 'rebuilding' ? html`<p class="detail">${state.error.message}</p>` : nothing}
        ${'loadedBytes' in state ? this.#renderProgress(state.loadedBytes, state.totalBytes) : nothing}
        ${this.isServerAway && state.phase === 'serving' ? html`<p class="detail">${SERVER_AWAY}</p>` : nothing}
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
    case 'rebuilding':
      return `The GPU went away. Loading ${sliceWords(state.slice)} again; requests go around this tab meanwhile…`;
    case 'paused':
      return PAUSED[state.reason];
    case 'stopping':
      return `${state.reason === 'battery-low' ? 'The battery is low: stopping' : 'Stopping'}. Finishing ${countOf(state.activeSequences, 'answer')} first…`;
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

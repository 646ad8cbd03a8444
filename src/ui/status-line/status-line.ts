import { html, LitElement } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { SkeinError } from '../../protocol/errors.ts';
import { errorWords } from '../text/error-words.ts';
import { baseStyles } from '../theme/base.styles.ts';
import { countOf, formatSeconds } from '../text/format.ts';
import { statusLineStyles } from './status-line.styles.ts';

/** What the line says about the connection. */
export type ConnectionStatus =
  | { readonly phase: 'connecting' }
  | { readonly phase: 'online'; readonly servingTabs: number; readonly isCovered: boolean | null }
  /** The server is away; what is under way goes on without it. */
  | { readonly phase: 'reconnecting'; readonly error: SkeinError; readonly retryInMs: number }
  | { readonly phase: 'offline'; readonly error: SkeinError; readonly retryInMs: number };

/** One line about the connection and the mesh. @slot - more facts, such as the model. @fires retry - the person will not wait. */
@customElement('skein-status-line')
export class StatusLine extends LitElement {
  static override readonly styles = [baseStyles, statusLineStyles];

  @property({ attribute: false }) status: ConnectionStatus = { phase: 'connecting' };

  override render() {
    return html`
      <section
        class="line ${this.#tone()}"
        aria-label="Connection"
        data-testid="status"
        data-phase=${this.status.phase}
      >
        <span class="news">
          <span class="dot" aria-hidden="true"></span>
          <span role="status">${this.#words()}</span>
        </span>
        <slot></slot>
        ${
          this.status.phase === 'offline' || this.status.phase === 'reconnecting'
            ? html`<button class="quiet" @click=${() => this.dispatchEvent(new Event('retry'))}>
                Connect now
              </button>`
            : ''
        }
      </section>
    `;
  }

  #tone(): 'ok' | 'warning' | 'danger' {
    if (this.status.phase === 'offline') return 'danger';
    return this.status.phase === 'online' && this.status.isCovered !== false ? 'ok' : 'warning';
  }

  #words(): string {
    switch (this.status.phase) {
      case 'connecting':
        return 'Connecting to the server…';
      case 'offline':
        return `${offlineWords(this.status.error)} ${againWords(this.status.retryInMs)}`;
      case 'reconnecting':
        return `The server is away; answers go on. ${againWords(this.status.retryInMs)}`;
      case 'online': {
        const tabs = countOf(this.status.servingTabs, 'serving tab');
        const coverage = { true: ' · every layer held', false: ' · layers missing', null: '' }[
          String(this.status.isCovered) as 'true' | 'false' | 'null'
        ];
        return `Connected · ${tabs}${coverage}`;
      }
    }
  }
}

function againWords(retryInMs: number): string {
  return `Connecting again in ${formatSeconds(retryInMs)}.`;
}

/** A silent server and a lost one look the same from here; a server that refuses has its own words. */
function offlineWords({ code }: SkeinError): string {
  const { title, advice } = errorWords(code);
  return code === 'server-lost' || code === 'timeout' ? 'The server is away.' : `${title}. ${advice}`;
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-status-line': StatusLine;
  }
}

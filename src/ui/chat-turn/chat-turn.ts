import { html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { queueWords } from '../../client/queue-words.ts';
import { lossWords } from '../../client/reroute-words.ts';
import type { Turn } from '../chat/conversation.ts';
import { countOf, formatSeconds, formatTokenRate } from '../text/format.ts';
import { errorWords } from '../text/error-words.ts';
import { baseStyles } from '../theme/base.styles.ts';
import '../error-notice/error-notice.ts';
import '../route-strip/route-strip.ts';
import { chatTurnStyles } from './chat-turn.styles.ts';

/** A question, its answer as it grows, and the tabs that computed it. @fires retry - ask again. */
@customElement('skein-chat-turn')
export class ChatTurn extends LitElement {
  static override readonly styles = [baseStyles, chatTurnStyles];

  @property({ attribute: false }) turn: Turn | null = null;

  override render() {
    if (this.turn === null) return nothing;
    const { prompt, answer } = this.turn;
    return html`
      <article data-testid="turn" data-phase=${answer.status.phase}>
        <h2 class="visually-hidden">You said</h2>
        <p class="prompt" data-testid="prompt">${prompt}</p>
        <h2 class="visually-hidden">Skein answered</h2>
        ${answer.text === '' ? nothing : html`<p class="answer" data-testid="answer">${answer.text}</p>`}
        ${this.#renderStatus()}
        <skein-route-strip .route=${answer.route} .self=${answer.self} .reroutes=${answer.reroutes}
          >${this.#renderFacts()}</skein-route-strip
        >
      </article>
    `;
  }

  #renderStatus() {
    const status = this.turn?.answer.status;
    switch (status?.phase) {
      case 'preparing':
        return progress('Finding tabs for every layer…');
      case 'reading':
        return progress('The tabs are reading your question…');
      case 'queued':
        return progress(`${queueWords(status.position)}.`);
      case 'resuming':
        return progress(`${lossWords(status.reroute)}. Other tabs go on with the answer…`);
      case 'waiting':
        if (status.reroute !== null) {
          return progress(`${lossWords(status.reroute)}. Looking for others to go on…`);
        }
        return progress(`${errorWords(status.error.code).title}. Trying again…`);
      case 'stopped':
        return html`<p class="note">Stopped.</p>`;
      case 'failed':
        return html`
          <skein-error-notice .error=${status.error}>
            <button @click=${() => this.dispatchEvent(new Event('retry'))}>Retry</button>
          </skein-error-notice>
        `;
      case 'done':
        return status.finishReason === 'length'
          ? html`<p class="note">Cut off at the longest answer allowed. Raise it in Settings.</p>`
          : nothing;
      default:
        return nothing;
    }
  }

  #renderFacts() {
    const answer = this.turn?.answer;
    if (answer === undefined || answer.tokenIds.length === 0) return nothing;
    const facts = [countOf(answer.tokenIds.length, 'token')];
    if (answer.status.phase === 'done') {
      const { tokensPerSecond, timeToFirstTokenMs } = answer.status;
      if (tokensPerSecond !== null) facts.push(formatTokenRate(tokensPerSecond));
      facts.push(`first after ${formatSeconds(timeToFirstTokenMs)}`);
    }
    return html`<span data-testid="facts">${facts.join(' · ')}</span>`;
  }
}

function progress(words: string) {
  return html`<p class="note progress"><span class="pulse" aria-hidden="true"></span>${words}</p>`;
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-chat-turn': ChatTurn;
  }
}

import { html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { SkeinError } from '../../protocol/errors.ts';
import { wordsOf } from '../text/error-words.ts';
import { baseStyles } from '../theme/base.styles.ts';
import { errorNoticeStyles } from './error-notice.styles.ts';

/** What went wrong, what to do, and the exact words behind a disclosure. @slot - buttons that do it. */
@customElement('skein-error-notice')
export class ErrorNotice extends LitElement {
  static override readonly styles = [baseStyles, errorNoticeStyles];

  @property({ attribute: false }) error: SkeinError | null = null;

  override render() {
    if (this.error === null) return nothing;
    const { title, advice } = wordsOf(this.error);
    return html`
      <div role="alert" data-testid="error" data-code=${this.error.code}>
        <p class="title">${title}</p>
        <p>${advice}</p>
        <details>
          <summary>Details</summary>
          <p class="message">${this.error.message} <span class="code">(${this.error.code})</span></p>
        </details>
        <div class="actions"><slot></slot></div>
      </div>
    `;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-error-notice': ErrorNotice;
  }
}

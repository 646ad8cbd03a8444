import { html, LitElement } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { baseStyles } from '../theme/base.styles.ts';
import { siteHeaderStyles } from './site-header.styles.ts';

/** Name and navigation. @slot - actions at the end of the line. */
@customElement('skein-site-header')
export class SiteHeader extends LitElement {
  static override readonly styles = [baseStyles, siteHeaderStyles];

  /** The page this is on. */
  @property() page: 'chat' | 'contribute' = 'chat';

  override render() {
    return html`
      <header>
        <a class="brand" href="/" aria-label="Skein, home">
          <svg viewBox="0 0 32 20" width="32" height="20" aria-hidden="true">
            <path d="M3 15 8 5l5 6 5-8 5 8 6-5" />
          </svg>
          <span class="name">Skein</span>
        </a>
        <nav aria-label="Pages">
          <a href="/" aria-current=${this.page === 'chat' ? 'page' : 'false'}>Chat</a>
          <a href="/contribute" aria-current=${this.page === 'contribute' ? 'page' : 'false'}>Contribute</a>
        </nav>
        <slot></slot>
      </header>
    `;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-site-header': SiteHeader;
  }
}

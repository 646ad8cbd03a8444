import { html, LitElement } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { baseStyles } from '../theme/base.styles.ts';
import { promptComposerStyles } from './prompt-composer.styles.ts';

/** Carries the text of a `send`. */
export class SendEvent extends Event {
  constructor(readonly text: string) {
    super('send');
  }
}

/**
 * Where a question is written. Enter sends, Shift+Enter makes a line, Escape stops.
 * @fires send - a `SendEvent` with the text. @fires stop - end the answer under way.
 */
@customElement('skein-prompt-composer')
export class PromptComposer extends LitElement {
  static override readonly styles = [baseStyles, promptComposerStyles];

  /** An answer is under way: Stop takes the place of Send. */
  @property({ type: Boolean }) answering = false;
  /** Why nothing can be sent now; empty when it can. */
  @property() blocked = '';

  @state() private text = '';

  override focus(): void {
    this.renderRoot.querySelector('textarea')?.focus();
  }

  override render() {
    return html`
      <form @submit=${this.#onSubmit}>
        <label class="visually-hidden" for="prompt">Your message</label>
        <textarea
          id="prompt"
          rows="1"
          placeholder="Ask something"
          aria-describedby="hint"
          .value=${this.text}
          @input=${this.#onInput}
          @keydown=${this.#onKeydown}
        ></textarea>
        ${
          this.answering
            ? html`<button type="button" @click=${this.#stop}>Stop</button>`
            : html`<button class="primary" ?disabled=${!this.#canSend()}>Send</button>`
        }
      </form>
      <p id="hint" class="hint">
        ${this.blocked === '' ? html`<span class="keys">Enter sends, Shift+Enter makes a new line, Esc stops.</span>` : this.blocked}
      </p>
    `;
  }

  #canSend(): boolean {
    return this.text.trim() !== '' && this.blocked === '' && !this.answering;
  }

  readonly #onInput = (event: InputEvent): void => {
    if (event.target instanceof HTMLTextAreaElement) this.text = event.target.value;
  };

  readonly #onKeydown = (event: KeyboardEvent): void => {
    // Enter also ends the composition of Chinese, Japanese and Korean characters; that is no wish to send.
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#send();
    }
  };

  readonly #onSubmit = (event: SubmitEvent): void => {
    event.preventDefault();
    this.#send();
  };

  readonly #stop = (): void => {
    this.dispatchEvent(new Event('stop'));
    this.focus();
  };

  #send(): void {
    if (!this.#canSend()) return;
    this.dispatchEvent(new SendEvent(this.text));
    this.text = '';
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-prompt-composer': PromptComposer;
  }
}

import { html, LitElement, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { repeat } from 'lit/directives/repeat.js';
import { sessionOf } from '../../mesh/mesh-connection.ts';
import { currentEnvironment, findSupportProblem } from '../../contributor/webgpu-support.ts';
import type { ModelId } from '../../protocol/ids.ts';
import type { ModelCard } from '../../protocol/signaling.ts';
import { connectionStatus } from '../connection/connection-status.ts';
import { contributeFromPage } from '../connection/page-contributor.ts';
import { connectPage } from '../connection/page-session.ts';
import { loadMemoryLimit } from '../contribute/memory-limit.ts';
import type { SendEvent } from '../prompt-composer/prompt-composer.ts';
import type { SettingsEvent } from '../sampling-settings/sampling-settings.ts';
import { formatModel } from '../text/format.ts';
import { baseStyles } from '../theme/base.styles.ts';
import '../chat-turn/chat-turn.ts';
import '../contributor-status/contributor-status.ts';
import '../coverage-notice/coverage-notice.ts';
import '../error-notice/error-notice.ts';
import '../prompt-composer/prompt-composer.ts';
import '../sampling-settings/sampling-settings.ts';
import '../site-header/site-header.ts';
import '../status-line/status-line.ts';
import { ChatController } from './chat-controller.ts';
import { chatPageStyles } from './chat-page.styles.ts';
import { FollowEnd } from './follow-end.ts';
import { generatorFor } from './generator.ts';
import { clampSettings, DEFAULT_SETTINGS } from './sampling.ts';
import { StreamAnnouncer } from './stream-announcer.ts';

const EXAMPLES = ['What is Skein?', 'What happens when a tab closes?', 'Count to 12.'] as const;

/** The chat page: owns the connection, the conversation and, if the person wants it, a contributor. */
@customElement('skein-chat-page')
export class ChatPage extends LitElement {
  static override readonly styles = [baseStyles, chatPageStyles];

  readonly #connection = connectPage();
  readonly #contributor = contributeFromPage(this.#connection);
  readonly #chat = new ChatController({
    generator: () => generatorFor(this.#connection),
    randomSeed: () => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
  });
  readonly #announcer = new StreamAnnouncer();
  readonly #supportProblem = findSupportProblem(currentEnvironment());
  #followEnd: FollowEnd | null = null;

  @state() private settings = DEFAULT_SETTINGS;
  @state() private chosenModel: ModelId | null = null;
  /** Kept while the server is away, so that the page does not forget what it talks to. */
  @state() private models: readonly ModelCard[] = [];
  @state() private announcement = '';

  override connectedCallback(): void {
    super.connectedCallback();
    this.#connection.subscribe((connection) => {
      const session = sessionOf(connection);
      if (session !== null) this.models = session.models.filter(({ isDraining }) => isDraining !== true);
      this.#contributor.setSession(session);
      this.requestUpdate();
    });
    this.#contributor.subscribe(() => this.requestUpdate());
    this.#chat.subscribe((turns) => {
      this.announcement = this.#announcer.next(turns) ?? this.announcement;
      this.requestUpdate();
    });
    window.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.#chat.stop();
    });
    window.addEventListener('online', () => this.#connection.retryNow());
  }

  override render() {
    const { turns } = this.#chat;
    return html`
      <div class="page">
        <skein-site-header page="chat">
          ${
            turns.length > 0
              ? html`<button class="quiet" @click=${() => this.#startOver()}>Start over</button>`
              : nothing
          }
        </skein-site-header>
        ${this.#renderStatus()}
        <main>
          <div class="log" role="log" aria-live="off" aria-label="Conversation" tabindex="0">
            <div class="content">
              ${turns.length === 0 ? this.#renderWelcome() : html`<h1 class="visually-hidden">Chat</h1>`}
              ${repeat(
                turns,
                ({ id }) => id,
                (turn) =>
                  html`<skein-chat-turn .turn=${turn} @retry=${() => this.#retry()}></skein-chat-turn>`,
              )}
              ${this.#renderContributor()} ${this.#renderCoverage()}
            </div>
          </div>
          <div class="visually-hidden" aria-live="polite">${this.announcement}</div>
          ${this.#renderComposer()}
        </main>
      </div>
    `;
  }

  protected override firstUpdated(): void {
    const log = this.renderRoot.querySelector<HTMLElement>('.log');
    const content = this.renderRoot.querySelector<HTMLElement>('.content');
    if (log !== null && content !== null) this.#followEnd = new FollowEnd(log, content);
  }

  get #card(): ModelCard | null {
    return this.models.find(({ id }) => id === this.chosenModel) ?? this.models[0] ?? null;
  }

  /** Null while it cannot be known. */
  get #isCovered(): boolean | null {
    const { state } = this.#connection;
    const card = this.#card;
    return 'mesh' in state && card !== null ? state.mesh.covered.includes(card.id) : null;
  }

  #renderStatus() {
    const status = connectionStatus(this.#connection.state, this.#isCovered);
    return html`
      <skein-status-line .status=${status} @retry=${() => this.#connection.retryNow()}>
        ${this.#renderModel()}
      </skein-status-line>
    `;
  }

  #renderModel() {
    const card = this.#card;
    if (card === null) return nothing;
    if (this.models.length === 1)
      return html`<span data-testid="model">${formatModel(card.id, card.quantization)}</span>`;
    return html`
      <label>
        <span class="visually-hidden">Model</span>
        <select data-testid="model" @change=${this.#chooseModel} .value=${card.id}>
          ${this.models.map(
            ({ id, quantization }) => html`
              <option value=${id} ?selected=${id === card.id}>${formatModel(id, quantization)}</option>
            `,
          )}
        </select>
      </label>
    `;
  }

  #renderWelcome() {
    return html`
      <div class="welcome">
        <h1>Ask a model that lives in browser tabs</h1>
        <p>
          Each tab holds a few layers of the model and hands its result to the next. Under every answer you
          see the tabs that computed it.
        </p>
        ${
          this.#isCovered
            ? html`<div class="examples">
                ${EXAMPLES.map((text) => html`<button @click=${() => this.#send(text)}>${text}</button>`)}
              </div>`
            : nothing
        }
      </div>
    `;
  }

  #renderCoverage() {
    const { state } = this.#connection;
    if (state.phase !== 'online' || this.#isCovered !== false) return nothing;
    return html`
      <skein-coverage-notice
        .card=${this.#card}
        .members=${state.mesh.members}
        .problem=${this.#supportProblem}
        .lending=${!['idle', 'failed'].includes(this.#contributor.state.phase)}
        @lend=${() => void this.#lend()}
      ></skein-coverage-notice>
    `;
  }

  #renderContributor() {
    const { state } = this.#contributor;
    if (state.phase === 'idle') return nothing;
    if (state.phase === 'failed') {
      return html`
        <skein-error-notice .error=${state.error}>
          <button @click=${() => void this.#lend()}>Start again</button>
        </skein-error-notice>
      `;
    }
    return html`
      <skein-contributor-status
        class="card"
        .state=${state}
        .isServerAway=${this.#connection.state.phase === 'reconnecting'}
      >
        <button slot="actions" @click=${() => this.#contributor.stop()}>
          ${state.phase === 'stopping' ? 'Stop now' : 'Stop lending'}
        </button>
      </skein-contributor-status>
    `;
  }

  #renderComposer() {
    return html`
      <footer>
        <skein-prompt-composer
          ?answering=${this.#chat.isAnswering}
          .blocked=${this.#blockedBecause()}
          @send=${(event: SendEvent) => this.#send(event.text)}
          @stop=${() => this.#chat.stop()}
        ></skein-prompt-composer>
        <skein-sampling-settings
          .settings=${this.settings}
          .contextLength=${this.#card?.contextLength ?? DEFAULT_SETTINGS.maxTokens}
          @settings=${(event: SettingsEvent) => (this.settings = event.settings)}
        ></skein-sampling-settings>
        <p class="honest">
          The tabs that compute an answer can see what you write. Small models make things up.
        </p>
      </footer>
    `;
  }

  #blockedBecause(): string {
    switch (this.#connection.state.phase) {
      case 'connecting':
        return 'Connecting…';
      case 'reconnecting':
      case 'offline':
        return 'You can send again when the server is back.';
      case 'online':
        if (this.#card === null) return 'The server offers no model.';
        return this.#isCovered ? '' : 'You can send as soon as every layer has a tab.';
    }
  }

  #send(text: string): void {
    const card = this.#card;
    if (card === null) return;
    this.#chat.send(text, card.id, clampSettings(this.settings, card.contextLength));
    this.#followEnd?.follow();
  }

  #retry(): void {
    const card = this.#card;
    if (card !== null) this.#chat.retry(card.id, clampSettings(this.settings, card.contextLength));
  }

  #startOver(): void {
    this.#chat.startOver();
    this.announcement = 'Started over.';
    this.renderRoot.querySelector('skein-prompt-composer')?.focus();
  }

  async #lend(): Promise<void> {
    this.#contributor.start({ memoryLimitBytes: await loadMemoryLimit() });
  }

  readonly #chooseModel = (event: Event): void => {
    if (event.target instanceof HTMLSelectElement) {
      const { value } = event.target;
      this.chosenModel = this.models.find(({ id }) => id === value)?.id ?? null;
    }
  };
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-chat-page': ChatPage;
  }
}

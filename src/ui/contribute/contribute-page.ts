import { html, LitElement, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import type { ContributorState } from '../../contributor/contributor-state.ts';
import { sessionOf } from '../../mesh/mesh-connection.ts';
import { adapterProblem, currentEnvironment, findSupportProblem } from '../../contributor/webgpu-support.ts';
import type { SupportProblem } from '../../contributor/webgpu-support.ts';
import type { SkeinError } from '../../protocol/errors.ts';
import type { PeerId } from '../../protocol/ids.ts';
import { connectionStatus } from '../connection/connection-status.ts';
import { contributeFromPage } from '../connection/page-contributor.ts';
import { connectPage } from '../connection/page-session.ts';
import { countOf, formatBytes, shortPeer } from '../text/format.ts';
import { cutOffWords, suspectWords } from '../text/suspect-words.ts';
import { baseStyles } from '../theme/base.styles.ts';
import '../contributor-status/contributor-status.ts';
import '../error-notice/error-notice.ts';
import '../kernel-times/kernel-times.ts';
import '../layer-map/layer-map.ts';
import '../site-header/site-header.ts';
import '../status-line/status-line.ts';
import { contributePageStyles } from './contribute-page.styles.ts';
import {
  DEFAULT_MEMORY_LIMIT_BYTES,
  loadMemoryLimit,
  MEMORY_LIMITS_BYTES,
  saveMemoryLimit,
} from './memory-limit.ts';

const GIB = 1024 ** 3;

/** The contribute page: owns the connection and the contributor. Nothing touches the GPU before Start. */
@customElement('skein-contribute-page')
export class ContributePage extends LitElement {
  static override readonly styles = [baseStyles, contributePageStyles];

  readonly #connection = connectPage((error) => {
    this.cutOff = error;
  });
  readonly #contributor = contributeFromPage(this.#connection);
  readonly #environment = currentEnvironment();

  @state() private memoryLimitBytes = DEFAULT_MEMORY_LIMIT_BYTES;
  @state() private showsKernelTimes = false;
  /** Why this tab cut another one off last. */
  @state() private cutOff: SkeinError | null = null;

  override connectedCallback(): void {
    super.connectedCallback();
    this.#connection.subscribe((connection) => {
      this.#contributor.setSession(sessionOf(connection));
      this.requestUpdate();
    });
    this.#contributor.subscribe(() => this.requestUpdate());
    window.addEventListener('online', () => this.#connection.retryNow());
    void loadMemoryLimit().then((limitBytes) => {
      this.memoryLimitBytes = limitBytes;
    });
  }

  override render() {
    return html`
      <div class="page">
        <skein-site-header page="contribute"></skein-site-header>
        ${this.#renderStatus()}
        <main>
          <h1>Lend this device’s GPU</h1>
          <p class="lead">
            While this page is open and started, it downloads a slice of a language model, computes its layers
            for whoever chats on this mesh, and passes the numbers on to the next tab. Nothing is used before
            you press Start, and Stop frees it again.
          </p>
          ${this.#renderBody()}
        </main>
      </div>
    `;
  }

  #renderStatus() {
    const status = connectionStatus(this.#connection.state, null);
    return html`<skein-status-line
      .status=${status}
      @retry=${() => this.#connection.retryNow()}
    ></skein-status-line>`;
  }

  #renderBody() {
    const problem = findSupportProblem(this.#environment) ?? this.#adapterProblem();
    if (problem !== null) return this.#renderProblem(problem);
    const { state } = this.#contributor;
    return html`
      <div class="card">
        ${state.phase === 'failed' ? html`<skein-error-notice .error=${state.error}></skein-error-notice>` : nothing}
        <skein-contributor-status
          .state=${state}
          .isServerAway=${this.#connection.state.phase === 'reconnecting'}
        >
          ${this.#renderLayers(state)} ${this.#renderMachine(state)} ${this.#renderButton(state)}
        </skein-contributor-status>
      </div>
      ${isResting(state) ? this.#renderMemoryLimit() : nothing} ${this.#renderKernelTimes(state)}
      <p class="honest">
        The tabs that compute an answer can see the question. Closing the page stops lending; answers under
        way move to other tabs where there are any.
      </p>
    `;
  }

  #adapterProblem(): SupportProblem | null {
    const { state } = this.#contributor;
    const hasNoAdapter = state.phase === 'failed' && state.error.code === 'no-adapter';
    return hasNoAdapter ? adapterProblem(this.#environment.userAgent) : null;
  }

  #renderProblem({ reason, message, remedy }: SupportProblem) {
    return html`
      <div class="card" role="alert" data-testid="support-problem" data-reason=${reason}>
        <h2>This tab cannot lend a GPU</h2>
        <p>${message}</p>
        <p>${remedy}</p>
        <p>You can still <a href="/">chat</a> here: other tabs compute the answers.</p>
        ${reason === 'no-adapter' ? html`<p><button @click=${() => this.#start()}>Start again</button></p>` : nothing}
      </div>
    `;
  }

  #renderButton(state: ContributorState) {
    if (isResting(state)) {
      const words = state.phase === 'failed' ? 'Start again' : 'Start';
      return html`<button slot="actions" class="primary" @click=${() => this.#start()}>${words}</button>`;
    }
    return html`
      <button slot="actions" @click=${() => this.#contributor.stop()}>
        ${state.phase === 'stopping' ? 'Stop now' : 'Stop'}
      </button>
    `;
  }

  #renderLayers(state: ContributorState) {
    if (!('slice' in state)) return nothing;
    const connection = this.#connection.state;
    const self = sessionOf(connection)?.self ?? null;
    const members = 'mesh' in connection ? connection.mesh.members : [];
    const others = members.filter(
      (member) => member.peer !== self && member.model === state.slice.model && member.state !== 'suspect',
    );
    return html`
      <skein-layer-map
        .layerCount=${state.slice.layerCount}
        .mine=${state.slice}
        .others=${others}
      ></skein-layer-map>
      <p class="detail" data-testid="others">${othersWords(others.length)}</p>
      ${suspectWords(members, self).map(
        (words) => html`<p class="detail" data-testid="suspect">${words}</p>`,
      )}
      ${this.cutOff === null ? nothing : html`<p class="detail" data-testid="cut-off">${cutOffWords(this.cutOff)}</p>`}
      ${self === null ? nothing : renderSelf(self)}
    `;
  }

  #renderMachine(state: ContributorState) {
    if (!('capability' in state)) return nothing;
    const { adapter, memoryBytes, matvecBytesPerSecond } = state.capability;
    return html`
      <p class="detail" data-testid="machine">
        ${adapter} · lends up to ${formatBytes(memoryBytes)} · reads weights at
        ${formatBytes(matvecBytesPerSecond)}/s
      </p>
    `;
  }

  #renderMemoryLimit() {
    return html`
      <div class="limit">
        <label for="memory">Use at most</label>
        <select id="memory" @change=${this.#chooseLimit}>
          ${MEMORY_LIMITS_BYTES.map(
            (limit) => html`
              <option value=${limit} ?selected=${limit === this.memoryLimitBytes}>${limit / GIB} GiB</option>
            `,
          )}
        </select>
        <span>of GPU memory. Remembered on this device.</span>
      </div>
    `;
  }

  /** Open at Start, it asks for timestamps; they cannot be had of a GPU that was opened without. */
  #renderKernelTimes(state: ContributorState) {
    const isServing = state.phase === 'serving';
    return html`
      <details
        data-testid="kernel-times"
        @toggle=${(event: Event) => {
          this.showsKernelTimes = event.target instanceof HTMLDetailsElement && event.target.open;
        }}
      >
        <summary>Show kernel times</summary>
        <skein-kernel-times
          .isServing=${isServing}
          .times=${isServing ? (state.stats.kernelTimes ?? null) : null}
        ></skein-kernel-times>
      </details>
    `;
  }

  #start(): void {
    this.#contributor.start({
      memoryLimitBytes: this.memoryLimitBytes,
      timesKernels: this.showsKernelTimes,
    });
  }

  readonly #chooseLimit = (event: Event): void => {
    if (!(event.target instanceof HTMLSelectElement)) return;
    this.memoryLimitBytes = Number(event.target.value);
    void saveMemoryLimit(this.memoryLimitBytes);
  };
}

function othersWords(count: number): string {
  if (count === 0) return 'No other tab holds layers of this model.';
  return `${countOf(count, 'other tab holds', 'other tabs hold')} layers of this model.`;
}

function renderSelf(self: PeerId) {
  return html`
    <p class="detail">
      Under answers this tab is called
      <span class="peer" data-testid="self" title=${self}>${shortPeer(self)}</span>.
    </p>
  `;
}

function isResting({ phase }: ContributorState): boolean {
  return phase === 'idle' || phase === 'failed';
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-contribute-page': ContributePage;
  }
}

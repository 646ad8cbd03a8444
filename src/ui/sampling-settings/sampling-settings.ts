import { html, LitElement } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { clampSettings, DEFAULT_SETTINGS, MAX_TEMPERATURE } from '../chat/sampling.ts';
import type { SamplingSettings as Settings } from '../chat/sampling.ts';
import { baseStyles } from '../theme/base.styles.ts';
import { samplingSettingsStyles } from './sampling-settings.styles.ts';

export class SettingsEvent extends Event {
  constructor(readonly settings: Settings) {
    super('settings');
  }
}

/** How answers are drawn, behind a disclosure. @fires settings - a `SettingsEvent` with values in range. */
@customElement('skein-sampling-settings')
export class SamplingSettings extends LitElement {
  static override readonly styles = [baseStyles, samplingSettingsStyles];

  @property({ attribute: false }) settings: Settings = DEFAULT_SETTINGS;
  /** Of the model, in tokens. */
  @property({ type: Number }) contextLength = 2048;

  override render() {
    const { temperature, maxTokens } = this.settings;
    return html`
      <details>
        <summary>Settings</summary>
        <div class="fields">
          <label for="temperature">Temperature</label>
          <input
            id="temperature"
            type="number"
            min="0"
            max=${MAX_TEMPERATURE}
            step="0.1"
            inputmode="decimal"
            aria-describedby="temperature-help"
            .value=${String(temperature)}
            @change=${(event: Event) => this.#change({ temperature: numberOf(event) })}
          />
          <p id="temperature-help">0 gives the same answer every time; higher is more varied.</p>
          <label for="max-tokens">Longest answer</label>
          <input
            id="max-tokens"
            type="number"
            min="1"
            max=${this.contextLength}
            step="1"
            inputmode="numeric"
            aria-describedby="max-tokens-help"
            .value=${String(maxTokens)}
            @change=${(event: Event) => this.#change({ maxTokens: numberOf(event) })}
          />
          <p id="max-tokens-help">In tokens; a token is about three quarters of a word.</p>
        </div>
      </details>
    `;
  }

  #change(changed: Partial<Settings>): void {
    const settings = clampSettings({ ...this.settings, ...changed }, this.contextLength);
    this.dispatchEvent(new SettingsEvent(settings));
    // The field may show what was typed out of range while the settings stay as they were.
    this.requestUpdate('settings', null);
  }
}

function numberOf(event: Event): number {
  return event.target instanceof HTMLInputElement ? event.target.valueAsNumber : NaN;
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-sampling-settings': SamplingSettings;
  }
}

import { html, LitElement } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { KernelTime } from '../../engine/profiler.ts';
import { baseStyles } from '../theme/base.styles.ts';
import { kernelTimesStyles } from './kernel-times.styles.ts';

/** Where the time of a step goes, kernel by kernel, the slowest first; or why that is not known. */
@customElement('skein-kernel-times')
export class KernelTimes extends LitElement {
  static override readonly styles = [baseStyles, kernelTimesStyles];

  @property({ attribute: false }) isServing = false;
  /** Null where kernels are not timed; empty before the first step. */
  @property({ attribute: false }) times: readonly KernelTime[] | null = null;

  override render() {
    const { isServing, times } = this;
    if (!isServing) {
      return html`<p>
        Left open when you press Start, this times one step a second, kernel by kernel, which makes the tab a
        little slower.
      </p>`;
    }
    if (times === null) {
      return html`<p>
        Kernels are not timed: this was closed at Start, or the browser has no timestamps. Stop, leave it
        open, and start again.
      </p>`;
    }
    if (times.length === 0) return html`<p>Waiting for the first step…</p>`;
    const totalMs = times.reduce((sum, { ms }) => sum + ms, 0);
    return html`
      <div class="scroll" role="region" aria-label="Kernel times" tabindex="0">
        <table>
          <caption>
            The last timed step took ${totalMs.toFixed(1)} ms of the GPU. Browsers round each time to 0.1 ms.
          </caption>
          <thead>
            <tr>
              <th scope="col">Kernel</th>
              <th scope="col">Workgroups</th>
              <th scope="col" class="number">Dispatches</th>
              <th scope="col" class="number">ms</th>
              <th scope="col" class="number">Share</th>
            </tr>
          </thead>
          <tbody>
            ${times.map(
              ({ kernel, workgroups, dispatches, ms, share }) => html`
                <tr>
                  <th scope="row">${kernel}</th>
                  <td>${workgroups}</td>
                  <td class="number">${dispatches}</td>
                  <td class="number">${ms.toFixed(2)}</td>
                  <td class="number">${(100 * share).toFixed(0)} %</td>
                </tr>
              `,
            )}
          </tbody>
        </table>
      </div>
    `;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'skein-kernel-times': KernelTimes;
  }
}

import { expect } from '@playwright/test';
import type { Browser, CDPSession } from '@playwright/test';

const GIB = 1024 ** 3;
const PHASE_TIMEOUT_MS = 150_000;

interface Answer {
  readonly id: number;
  readonly result?: { readonly result?: { readonly value?: unknown } };
}

/**
 * A tab with the contribute page as a person has it. Tabs that Playwright opens count as seen and focused for ever, whatever
 * happens to them; this one can be hidden and frozen.
 */
export class PlainTab {
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #nextId = 1;

  private constructor(
    private readonly devtools: CDPSession,
    private readonly targetId: string,
    private readonly sessionId: string,
  ) {
    devtools.on('Target.receivedMessageFromTarget', (event) => {
      const answer = JSON.parse(event.message) as Answer;
      if (event.sessionId === sessionId) this.#waiting.get(answer.id)?.(answer);
    });
  }

  static async open(browser: Browser, url: string): Promise<PlainTab> {
    const devtools = await browser.newBrowserCDPSession();
    const { targetId } = await devtools.send('Target.createTarget', { url });
    const { sessionId } = await devtools.send('Target.attachToTarget', { targetId, flatten: false });
    const tab = new PlainTab(devtools, targetId, sessionId);
    await expect
      .poll(() => tab.evaluate(`${PAGE}?.shadowRoot.querySelector('button.primary') != null`))
      .toBe(true);
    return tab;
  }

  get isHidden(): Promise<boolean> {
    return this.evaluate(`document.visibilityState === 'hidden'`) as Promise<boolean>;
  }

  /** @returns what the expression is, as far as JSON has it. */
  async evaluate(expression: string): Promise<unknown> {
    const { result } = await this.#send('Runtime.evaluate', { expression, returnByValue: true });
    return result?.result?.value;
  }

  /** Freezing hides a tab, and it stays hidden when it runs again. */
  async setLifecycle(state: 'frozen' | 'active'): Promise<void> {
    await this.#send('Page.setWebLifecycleState', { state });
  }

  async start(): Promise<void> {
    await this.evaluate(`{
      const { shadowRoot } = ${PAGE};
      const memory = shadowRoot.querySelector('select');
      memory.value = '${0.5 * GIB}';
      memory.dispatchEvent(new Event('change'));
      shadowRoot.querySelector('button.primary').click();
    }`);
  }

  async expectPhase(phase: string): Promise<void> {
    const present = `${PAGE}.shadowRoot.querySelector('skein-contributor-status').shadowRoot.querySelector('section').dataset.phase`;
    await expect.poll(() => this.evaluate(present), { timeout: PHASE_TIMEOUT_MS }).toBe(phase);
  }

  async close(): Promise<void> {
    await this.devtools.send('Target.closeTarget', { targetId: this.targetId });
    await this.devtools.detach();
  }

  async #send(method: string, params: object): Promise<Answer> {
    const id = this.#nextId++;
    const answer = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    const message = JSON.stringify({ id, method, params });
    await this.devtools.send('Target.sendMessageToTarget', { sessionId: this.sessionId, message });
    return answer;
  }
}

const PAGE = `document.querySelector('skein-contribute-page')`;

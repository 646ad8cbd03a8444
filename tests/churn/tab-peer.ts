import type { BrowserContext, Page } from '@playwright/test';
import type { PeerId } from '../../src/protocol/ids.ts';
import type { ChurnPeer } from './churn-peer.ts';

/** A tab that drains is stopped for good after that. */
const GONE_TIMEOUT_MS = 20_000;

/** The contribute page in a tab of a headless browser. */
export class TabPeer implements ChurnPeer {
  readonly kind = 'tab';
  #page: Page | null = null;

  constructor(
    readonly name: string,
    private readonly serverUrl: string,
    private readonly context: BrowserContext,
  ) {}

  async start(): Promise<void> {
    if (this.#page === null) {
      this.#page = await this.context.newPage();
      await this.#page.goto(`${this.serverUrl}/contribute/`);
      // The tabs of a software GPU share the machine's own memory.
      await this.#page.getByLabel('Use at most').selectOption('0.5 GiB');
    }
    await this.#page.getByRole('button', { name: /^Start/ }).click();
  }

  async isLending(): Promise<boolean> {
    const phase = await this.#page?.getByTestId('contributor').getAttribute('data-phase');
    return phase === 'waiting' || phase === 'loading' || phase === 'serving';
  }

  async peerId(): Promise<PeerId | null> {
    const self = this.#page?.getByTestId('self');
    if (self === undefined || !(await self.isVisible())) return null;
    return (await self.getAttribute('title')) as PeerId | null;
  }

  async leave(): Promise<void> {
    await this.#page?.getByRole('button', { name: 'Stop', exact: true }).click();
  }

  async crash(): Promise<void> {
    const page = this.#page;
    this.#page = null;
    await page?.close();
  }

  async gone(): Promise<void> {
    const start = this.#page?.getByRole('button', { name: /^Start/ });
    await start?.waitFor({ timeout: GONE_TIMEOUT_MS });
  }
}

import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { expect } from '@playwright/test';
import type { BrowserContext, Locator, Page } from '@playwright/test';
import type { Hop } from '../../src/protocol/route.ts';
import type { Golden } from '../golden/golden-file.ts';
import { EMBEDDED_MODEL } from '../rig/local-server.ts';

/** Measuring and compiling take a software GPU long, and the tabs of a test share one. */
const PHASE_TIMEOUT_MS = 150_000;

const golden = JSON.parse(await readFile(resolve(EMBEDDED_MODEL, 'golden.json'), 'utf8')) as Golden;

/** What the model answers to a question at temperature 0, as computed in float64. */
export function goldenAnswer(question: string): string {
  const found = golden.cases.find(({ user }) => user === question);
  if (found === undefined) throw new Error(`golden.json has no answer to "${question}"`);
  return found.text.replace('<|im_end|>', '');
}

/** Opens the contribute page and presses Start. Use `servingTab` to wait until it serves. */
export async function startTab(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${url}/contribute`);
  // The tabs of a software GPU share the machine's own memory.
  await page.getByLabel('Use at most').selectOption('0.5 GiB');
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  return page;
}

export async function expectPhase(page: Page, phase: string): Promise<void> {
  await expect(page.getByTestId('contributor')).toHaveAttribute('data-phase', phase, {
    timeout: PHASE_TIMEOUT_MS,
  });
}

/** So many contributor tabs, all of them serving. */
export async function serveFrom(context: BrowserContext, url: string, tabs: number): Promise<Page[]> {
  const pages = await Promise.all(Array.from({ length: tabs }, () => startTab(context, url)));
  for (const page of pages) await expectPhase(page, 'serving');
  return pages;
}

/** Opens the chat page and sets the temperature to 0, so that answers are golden. */
export async function openChat(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${url}/`);
  await page.getByText('Settings').click();
  await page.getByLabel('Temperature').fill('0');
  await page.getByText('Settings').click();
  return page;
}

/** Sends a question as soon as it can be sent. @returns its turn. */
export async function ask(page: Page, question: string): Promise<Locator> {
  const turns = page.getByTestId('turn');
  const turn = turns.nth(await turns.count());
  await page.getByLabel('Your message').fill(question);
  await expect(page.getByRole('button', { name: 'Send' })).toBeEnabled();
  await page.getByLabel('Your message').press('Enter');
  await expect(turn.getByTestId('prompt')).toHaveText(question);
  return turn;
}

export async function expectAnswer(turn: Locator, text: string): Promise<void> {
  await expect(turn).toHaveAttribute('data-phase', 'done');
  await expect(turn.getByTestId('answer')).toHaveText(text);
}

/** The hops shown under an answer. */
export async function routeOf(turn: Locator): Promise<(Hop & { readonly isThisTab: boolean })[]> {
  return turn
    .getByTestId('route')
    .getByRole('listitem')
    .evaluateAll((items) =>
      items.map((item) => ({
        peer: item.dataset['peer'] as Hop['peer'],
        layerStart: Number(item.dataset['layerStart']),
        layerEnd: Number(item.dataset['layerEnd']),
        isThisTab: item.textContent.includes('this tab'),
      })),
    );
}

/** The peer that a contributor tab is. */
export function selfOf(tab: Page): Promise<string | null> {
  return tab.getByTestId('self').getAttribute('title');
}

/** The tab that computes the first layers of an answer. @throws Error when none of the given does. */
export async function answering(turn: Locator, tabs: readonly Page[]): Promise<Page> {
  const [hop] = await routeOf(turn);
  const peers = await Promise.all(tabs.map(selfOf));
  const tab = tabs[peers.indexOf(hop?.peer ?? null)];
  if (tab === undefined) throw new Error('nobody answers');
  return tab;
}

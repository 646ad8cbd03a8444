import { expect, test } from '@playwright/test';
import type { BrowserContext, Page } from '@playwright/test';
import type { RunningServer } from '../../signaling/server.ts';
import { startMesh } from '../rig/local-server.ts';
import { ask, expectAnswer, expectPhase, goldenAnswer, openChat, routeOf, serveFrom } from './mesh.ts';

test.describe.configure({ mode: 'serial' });

let server: RunningServer;
let tabs: BrowserContext;
let contributors: Page[];

test.beforeAll(async ({ browser }) => {
  server = await startMesh(3);
  tabs = await browser.newContext();
  contributors = await serveFrom(tabs, server.url, 3);
});

test.afterAll(async () => {
  await tabs.close();
  await server.close();
});

test('three tabs answer as one: golden text, disjoint layers', async ({ context }) => {
  const page = await openChat(context, server.url);
  const turn = await ask(page, 'What is Skein?');
  await expectAnswer(turn, goldenAnswer('What is Skein?'));
  const route = await routeOf(turn);
  expect(new Set(route.map(({ peer }) => peer)).size).toBe(3);
  expect(route.map(({ layerStart }) => layerStart)).toEqual([
    0,
    ...route.slice(0, 2).map(({ layerEnd }) => layerEnd),
  ]);
  expect(route.at(-1)?.layerEnd).toBe(8);
  expect(route.some(({ isThisTab }) => isThisTab)).toBe(false);
});

test('contributors show their own layers and what they computed', async () => {
  const starts: (string | null)[] = [];
  for (const page of contributors) {
    const map = page.getByTestId('layer-map');
    await expect(map).toHaveAttribute('data-layer-count', '8');
    starts.push(await map.getAttribute('data-layer-start'));
    await expect(page.getByTestId('others')).toHaveText('2 other tabs hold layers of this model.');
    // 12 rows of the prompt and every token of the answer but the last.
    await expect(page.getByRole('definition').nth(1)).toHaveText('38');
    await expect(page.getByTestId('machine')).toContainText(/swiftshader/i);
  }
  expect(new Set(starts).size).toBe(3);
});

test('two chat pages at once over the same tabs', async ({ context }) => {
  const questions = ['What happens when a tab closes?', 'List the days of the week.'];
  const pages = await Promise.all(questions.map(() => openChat(context, server.url)));
  const turns = await Promise.all(pages.map((page, index) => ask(page, questions[index] ?? '')));
  for (const [index, turn] of turns.entries()) await expectAnswer(turn, goldenAnswer(questions[index] ?? ''));
});

test('a tab without WebGPU is told why it cannot lend, and can chat', async ({ browser }) => {
  const context = await browser.newContext();
  await context.addInitScript(() => {
    Object.defineProperty(Navigator.prototype, 'gpu', { value: undefined });
  });
  const contribute = await context.newPage();
  await contribute.goto(`${server.url}/contribute`);
  const problem = contribute.getByTestId('support-problem');
  await expect(problem).toHaveAttribute('data-reason', 'no-webgpu');
  await expect(problem).toContainText('This browser does not offer WebGPU.');
  await expect(contribute.getByRole('button', { name: 'Start' })).toHaveCount(0);

  const chat = await openChat(context, server.url);
  await expectAnswer(await ask(chat, 'Who are you?'), goldenAnswer('Who are you?'));
  await context.close();
});

test('stop ends an answer and keeps what was written', async ({ context }) => {
  const page = await openChat(context, server.url);
  const turn = await ask(page, 'What is Skein?');
  await expect(turn.getByTestId('answer')).toContainText('Skein');
  await page.keyboard.press('Escape');
  await expect(turn).toHaveAttribute('data-phase', 'stopped');
  const written = await turn.getByTestId('answer').innerText();
  expect(goldenAnswer('What is Skein?')).toContain(written);
  await page.getByRole('button', { name: 'Start over' }).click();
  await expectAnswer(await ask(page, 'Spell window.'), goldenAnswer('Spell window.'));
});

test('a tab that leaves is missed, and one that comes is used', async ({ context }) => {
  const page = await openChat(context, server.url);
  const [leaving] = contributors;
  if (leaving === undefined) throw new Error('no contributor');
  await leaving.getByRole('button', { name: 'Stop' }).click();
  await expectPhase(leaving, 'idle');
  await expect(page.getByTestId('uncovered')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Send' })).toBeDisabled();
  await leaving.getByRole('button', { name: 'Start' }).click();
  await expect(page.getByTestId('uncovered')).toHaveCount(0);
  await expectAnswer(await ask(page, 'What is 31 - 14?'), goldenAnswer('What is 31 - 14?'));
});

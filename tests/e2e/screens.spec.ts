import { AxeBuilder } from '@axe-core/playwright';
import { expect, test } from '@playwright/test';
import type { Page } from '@playwright/test';
import type { RunningServer } from '../../signaling/server.ts';
import { startMesh } from '../rig/local-server.ts';
import { ask, expectAnswer, expectPhase, goldenAnswer, openChat } from './mesh.ts';

/** What people have in their hands and on their desks, by day and by night. */
const SCREENS = [
  { name: 'wide-light', viewport: { width: 1440, height: 900 }, colorScheme: 'light' },
  { name: 'narrow-dark', viewport: { width: 390, height: 844 }, colorScheme: 'dark' },
  { name: 'wide-dark', viewport: { width: 1440, height: 900 }, colorScheme: 'dark' },
  { name: 'narrow-light', viewport: { width: 390, height: 844 }, colorScheme: 'light' },
] as const;

test.describe.configure({ mode: 'serial' });

let server: RunningServer;

test.beforeAll(async () => {
  server = await startMesh(1);
});

test.afterAll(() => server.close());

/** Nothing sticks out, axe finds nothing, and a picture for people to look at. */
async function inspect(page: Page, name: string): Promise<void> {
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(overflow, `${name} is too wide by so many pixels`).toBeLessThanOrEqual(0);
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map(({ id, nodes }) => [id, nodes.map(({ target }) => target)])).toEqual([]);
  await page.screenshot({ path: `tests/e2e/results/screens/${name}.png` });
}

for (const { name, viewport, colorScheme } of SCREENS) {
  test(`every state on ${name}`, async ({ browser }) => {
    const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' });
    const chat = await openChat(context, server.url);
    await expect(chat.getByTestId('uncovered')).toBeVisible();
    await inspect(chat, `chat-uncovered-${name}`);

    const contribute = await context.newPage();
    await contribute.goto(`${server.url}/contribute`);
    await expect(contribute.getByTestId('status')).toHaveAttribute('data-phase', 'online');
    await inspect(contribute, `contribute-idle-${name}`);
    await contribute.getByRole('button', { name: 'Start' }).click();
    await expectPhase(contribute, 'serving');
    await inspect(contribute, `contribute-serving-${name}`);

    await expect(chat.getByTestId('uncovered')).toHaveCount(0);
    await inspect(chat, `chat-covered-${name}`);
    await expectAnswer(await ask(chat, 'What is Skein?'), goldenAnswer('What is Skein?'));
    await chat.getByText('Settings').click();
    // More than a stage holds, so that there is no room for an answer.
    const refused = await ask(chat, Array.from({ length: 2048 }, (_, count) => count).join(' '));
    await expect(refused.getByTestId('error')).toHaveAttribute('data-code', 'bad-argument');
    await expect(refused.getByRole('button', { name: 'Retry' })).toBeInViewport();
    await inspect(chat, `chat-answers-${name}`);
    await context.close();
  });
}

test('states without a GPU', async ({ browser }) => {
  const lonely = await startMesh('auto');
  for (const { name, viewport, colorScheme } of SCREENS) {
    const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' });
    await context.addInitScript(() => {
      Object.defineProperty(Navigator.prototype, 'gpu', { value: undefined });
    });
    const chat = await openChat(context, lonely.url);
    await expect(chat.getByTestId('support-problem')).toContainText('This browser does not offer WebGPU.');
    await inspect(chat, `chat-without-gpu-${name}`);
    const contribute = await context.newPage();
    await contribute.goto(`${lonely.url}/contribute`);
    await expect(contribute.getByTestId('support-problem')).toBeVisible();
    await inspect(contribute, `contribute-without-gpu-${name}`);
    await context.close();
  }
  await lonely.close();
});

test('states without a server: one that is away for now, and one that was never there', async ({
  browser,
}) => {
  const away = await startMesh('auto');
  const pages: { readonly page: Page; readonly name: string }[] = [];
  for (const { name, viewport, colorScheme } of SCREENS) {
    const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' });
    pages.push({ page: await openChat(context, away.url), name: `chat-reconnecting-${name}` });
    const contribute = await context.newPage();
    await contribute.goto(`${away.url}/contribute`);
    pages.push({ page: contribute, name: `contribute-reconnecting-${name}` });
    for (const { page } of pages) {
      await expect(page.getByTestId('status')).toHaveAttribute('data-phase', 'online');
    }
    const offline = await context.newPage();
    await offline.routeWebSocket(/\/signal$/, (socket) => void socket.close());
    await offline.goto(away.url);
    await expect(offline.getByTestId('status')).toHaveAttribute('data-phase', 'offline');
    await inspect(offline, `chat-offline-${name}`);
    await offline.close();
  }
  await away.close();
  for (const { page, name } of pages) {
    await expect(page.getByTestId('status')).toHaveAttribute('data-phase', 'reconnecting');
    await inspect(page, name);
  }
  for (const { page } of pages) await page.context().close();
});

import { expect, test } from '@playwright/test';
import { startMesh } from '../rig/local-server.ts';
import { ask, expectAnswer, expectPhase, goldenAnswer, openChat, startTab } from './mesh.ts';
import { PlainTab } from './plain-tab.ts';

test('a hidden tab serves; a frozen one leaves the mesh, and comes back to it', async ({
  browser,
  context,
}) => {
  const server = await startMesh(1);
  const tab = await PlainTab.open(browser, `${server.url}/contribute`);
  try {
    expect(await tab.isHidden).toBe(false);
    await tab.setLifecycle('frozen');
    await tab.setLifecycle('active');
    expect(await tab.isHidden).toBe(true);
    await tab.start();
    await tab.expectPhase('serving');
    const page = await openChat(context, server.url);
    await expectAnswer(await ask(page, 'What is Skein?'), goldenAnswer('What is Skein?'));
    expect(await tab.isHidden).toBe(true);

    await tab.setLifecycle('frozen');
    await expect(page.getByTestId('status')).toContainText('0 serving tabs');
    await tab.setLifecycle('active');
    await tab.expectPhase('serving');
    await page.getByRole('button', { name: 'Start over' }).click();
    await expectAnswer(await ask(page, 'Who are you?'), goldenAnswer('Who are you?'));
  } finally {
    await tab.close();
    await server.close();
  }
});

test('a tab that is closed is gone from the mesh at once', async ({ context }) => {
  const server = await startMesh(1);
  try {
    const tab = await startTab(context, server.url);
    await expectPhase(tab, 'serving');
    const page = await openChat(context, server.url);
    await expect(page.getByTestId('status')).toContainText('1 serving tab');
    await tab.close();
    await expect(page.getByTestId('status')).toContainText('0 serving tabs', { timeout: 3000 });
  } finally {
    await server.close();
  }
});

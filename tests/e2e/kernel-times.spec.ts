import { AxeBuilder } from '@axe-core/playwright';
import { expect, test } from '@playwright/test';
import { startMesh } from '../rig/local-server.ts';
import { ask, expectAnswer, expectPhase, goldenAnswer, openChat } from './mesh.ts';

test('kernel times: asked for at Start, shown after a step, and the answer is the same', async ({
  context,
}) => {
  const server = await startMesh('auto');
  try {
    const page = await context.newPage();
    await page.goto(`${server.url}/contribute`);
    const times = page.getByTestId('kernel-times');
    await times.getByText('Show kernel times').click();
    await expect(times).toContainText('times one step a second');
    await page.getByRole('button', { name: 'Start', exact: true }).click();
    await expectPhase(page, 'serving');
    await expect(times).toContainText('Waiting for the first step');

    const chat = await openChat(context, server.url);
    await expectAnswer(await ask(chat, 'What is Skein?'), goldenAnswer('What is Skein?'));
    const rows = times.getByRole('row');
    await expect(rows.filter({ hasText: 'rope_append' })).toContainText(/8\s+[\d.]+\s+\d+ %/);
    // Of a prompt or of a token, whichever step it was.
    await expect(rows.filter({ hasText: 'attention_' }).first()).toBeVisible();
    await expect(times.getByText(/took (?!0\.0)[\d.]+ ms/)).toBeVisible();
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.map(({ id }) => id)).toEqual([]);

    await page.getByRole('button', { name: 'Stop' }).click();
    await expectPhase(page, 'idle');
    await times.getByText('Show kernel times').click();
    await page.getByRole('button', { name: 'Start', exact: true }).click();
    await expectPhase(page, 'serving');
    await times.getByText('Show kernel times').click();
    await expect(times).toContainText('Kernels are not timed');
  } finally {
    await server.close();
  }
});

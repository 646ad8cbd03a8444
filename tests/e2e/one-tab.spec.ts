import { expect, test } from '@playwright/test';
import { startMesh } from '../rig/local-server.ts';
import { ask, expectAnswer, expectPhase, goldenAnswer, openChat, routeOf } from './mesh.ts';

test('one tab alone: nothing runs before consent, then it answers itself', async ({ context }) => {
  const server = await startMesh('auto');
  try {
    const page = await openChat(context, server.url);
    await expect(page.getByTestId('uncovered')).toContainText('No tab holds skein-tiny yet');
    expect(page.workers()).toEqual([]);
    await expect(page.getByTestId('contributor')).toHaveCount(0);

    await page.getByRole('button', { name: 'Use this tab’s GPU' }).click();
    await expectPhase(page, 'serving');
    await expect(page.getByTestId('uncovered')).toHaveCount(0);

    const first = await ask(page, 'What is Skein?');
    await expectAnswer(first, goldenAnswer('What is Skein?'));
    expect(await routeOf(first)).toMatchObject([{ layerStart: 0, layerEnd: 8, isThisTab: true }]);
    await expect(first.getByTestId('facts')).toContainText(/27 tokens · [\d.]+ tokens\/s · first after/);

    await page.getByRole('button', { name: 'Start over' }).click();
    await expect(page.getByTestId('turn')).toHaveCount(0);
    await expectAnswer(await ask(page, 'What is 7 * 8?'), goldenAnswer('What is 7 * 8?'));

    const second = await ask(page, 'Count to 12.');
    await expect(second).toHaveAttribute('data-phase', 'done');
    await expect(page.getByTestId('turn')).toHaveCount(2);

    await page.getByRole('button', { name: 'Stop lending' }).click();
    await expect(page.getByTestId('contributor')).toHaveCount(0);
    await expect(page.getByTestId('uncovered')).toBeVisible();
    // It says goodbye to its requesters first, in a second at most.
    await expect.poll(() => page.workers()).toEqual([]);
  } finally {
    await server.close();
  }
});

import { expect, test } from '@playwright/test';
import type { Page } from '@playwright/test';
import { startMesh } from '../rig/local-server.ts';
import { ask, expectAnswer, expectPhase, goldenAnswer, openChat, routeOf } from './mesh.ts';

test('one tab alone: nothing runs before consent, then it answers itself', async ({ context }) => {
  const server = await startMesh('auto');
  try {
    const page = await openChat(context, server.url);
    await expect(page.getByTestId('uncovered')).toContainText('No tab holds skein-tiny yet');
    expect(engines(page)).toEqual([]);
    await expect(page.getByTestId('contributor')).toHaveCount(0);

    await page.getByRole('button', { name: 'Use this tab’s GPU' }).click();
    await expectPhase(page, 'serving');
    expect(engines(page)).toHaveLength(1);
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
    await expect.poll(() => engines(page)).toEqual([]);
  } finally {
    await server.close();
  }
});

/** Workers that may touch the GPU; the one that counts the page's time may not. */
function engines(page: Page): string[] {
  return page
    .workers()
    .map((worker) => worker.url())
    .filter((url) => url.includes('engine-worker'));
}

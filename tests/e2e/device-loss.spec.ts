import { expect, test } from '@playwright/test';
import type { BrowserContext, Page } from '@playwright/test';
import { startMesh } from '../rig/local-server.ts';
import { ask, expectAnswer, expectPhase, goldenAnswer, openChat, routeOf, startTab } from './mesh.ts';

/** Runs before the engine worker's own script: what it opens can be taken away from it. */
const NOTE_DEVICES = `
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    const device = await request.call(this, descriptor);
    globalThis.openedDevices = [...(globalThis.openedDevices ?? []), device];
    return device;
  };
`;

/** Contributor tabs whose devices `loseDevice` can destroy, all of them serving. */
async function serveFragile(context: BrowserContext, url: string, tabs: number): Promise<Page[]> {
  await context.route(/engine-worker.*\.js$/, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: NOTE_DEVICES + (await response.text()) });
  });
  const pages = await Promise.all(Array.from({ length: tabs }, () => startTab(context, url)));
  for (const page of pages) await expectPhase(page, 'serving');
  return pages;
}

/** The device of the tab's engine is gone, as after a driver reset. @returns how many it had opened. */
async function loseDevice(page: Page): Promise<number> {
  const worker = page.workers().find((each) => each.url().includes('engine-worker'));
  if (worker === undefined) throw new Error('no engine worker');
  return worker.evaluate(() => {
    const { openedDevices } = globalThis as unknown as { openedDevices: GPUDevice[] };
    openedDevices.at(-1)?.destroy();
    return openedDevices.length;
  });
}

test('an answer goes on when the GPU of the tab that computes it is lost, and the tab gets another', async ({
  context,
}) => {
  const server = await startMesh(1);
  try {
    const tabs = await serveFragile(context, server.url, 2);
    const page = await openChat(context, server.url);
    const turn = await ask(page, 'What is Skein?');
    await expect(turn.getByTestId('answer')).toContainText('Skein');
    const [hop] = await routeOf(turn);
    const peers = await Promise.all(tabs.map((tab) => tab.getByTestId('self').getAttribute('title')));
    const tab = tabs[peers.indexOf(hop?.peer ?? null)];
    if (tab === undefined) throw new Error('nobody answers');
    expect(await loseDevice(tab)).toBe(1);

    await expectAnswer(turn, goldenAnswer('What is Skein?'));
    await expectPhase(tab, 'serving');
    // The same peer as before, with another worker and device.
    expect(await tab.getByTestId('self').getAttribute('title')).toBe(hop?.peer);
    expect(await loseDevice(tab)).toBe(1);
    await expect(tab.getByTestId('contributor')).toContainText('The GPU went away.');
    await expectPhase(tab, 'serving');
  } finally {
    await server.close();
  }
});

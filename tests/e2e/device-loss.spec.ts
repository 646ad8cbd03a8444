import { expect, test } from '@playwright/test';
import type { BrowserContext, Page, Worker } from '@playwright/test';
import { startMesh } from '../rig/local-server.ts';
import {
  answering,
  ask,
  expectAnswer,
  expectPhase,
  goldenAnswer,
  openChat,
  selfOf,
  serveFrom,
  startTab,
} from './mesh.ts';

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

function engineOf(page: Page): Worker {
  const worker = page.workers().find((each) => each.url().includes('engine-worker'));
  if (worker === undefined) throw new Error('no engine worker');
  return worker;
}

/** The device of the tab's engine is gone, as after a driver reset. @returns how many it had opened. */
async function loseDevice(page: Page): Promise<number> {
  return engineOf(page).evaluate(() => {
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
    const tab = await answering(turn, tabs);
    const self = await selfOf(tab);
    expect(await loseDevice(tab)).toBe(1);

    await expectAnswer(turn, goldenAnswer('What is Skein?'));
    await expectPhase(tab, 'serving');
    // The same peer as before, with another worker and device.
    expect(await selfOf(tab)).toBe(self);
    expect(await loseDevice(tab)).toBe(1);
    await expect(tab.getByTestId('contributor')).toContainText('The GPU went away.');
    await expectPhase(tab, 'serving');
  } finally {
    await server.close();
  }
});

test('an answer goes on when the engine of the tab that computes it hangs, and the tab starts another', async ({
  context,
}) => {
  const server = await startMesh(1);
  try {
    const tabs = await serveFrom(context, server.url, 2);
    const page = await openChat(context, server.url);
    const turn = await ask(page, 'What is Skein?');
    await expect(turn.getByTestId('answer')).toContainText('Skein');
    const tab = await answering(turn, tabs);
    const next = tab.waitForEvent('worker');
    // It never answers again, not even this.
    engineOf(tab)
      .evaluate('for (;;);')
      .catch(() => undefined);
    await expectAnswer(turn, goldenAnswer('What is Skein?'));
    expect((await next).url()).toContain('engine-worker');
    await expectPhase(tab, 'serving');
  } finally {
    await server.close();
  }
});

test('an answer goes on when the GPU of the only tab is lost: it waits until the tab has another', async ({
  context,
}) => {
  const server = await startMesh(1);
  try {
    const [tab] = await serveFragile(context, server.url, 1);
    if (tab === undefined) throw new Error('no tab');
    const page = await openChat(context, server.url);
    const turn = await ask(page, 'What is Skein?');
    await expect(turn.getByTestId('answer')).toContainText('Skein');
    await loseDevice(tab);
    await expectAnswer(turn, goldenAnswer('What is Skein?'));
    await expectPhase(tab, 'serving');
  } finally {
    await server.close();
  }
});

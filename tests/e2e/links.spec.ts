import { fileURLToPath } from 'node:url';
import { expect, test } from '@playwright/test';
import type { Page } from '@playwright/test';
import { createServer } from 'vite';
import { openNodeSession } from '../../src/mesh/node-session.ts';
import type { startWorkerClock } from '../../src/contributor/worker-clock.ts';
import type { SkeinError } from '../../src/protocol/errors.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import { decodeServerMessage } from '../../src/protocol/signaling.ts';
import { startMesh } from '../rig/local-server.ts';

/** What the server calls a page that is about to be opened. */
function peerIdOf(page: Page): Promise<PeerId> {
  return new Promise((resolve) => {
    page.on('websocket', (socket) => {
      socket.on('framereceived', ({ payload }) => {
        const message = decodeServerMessage(payload.toString());
        if (message.type === 'welcome') resolve(message.peer);
      });
    });
  });
}

test('a tab that is closed says goodbye over its links', async ({ context }) => {
  const server = await startMesh(1);
  const session = await openNodeSession(server.url, new AbortController().signal);
  try {
    const tab = await context.newPage();
    const welcomed = peerIdOf(tab);
    await tab.goto(`${server.url}/contribute/`);
    const peer = await welcomed;
    const reason = new Promise<SkeinError>((resolve) => {
      session.transport.onPeerLost((_lost, error) => resolve(error));
    });
    await session.transport.probe([peer]);
    expect(session.transport.linkStats()).toMatchObject([{ peer }]);
    await tab.close();
    const { code, data, message } = await reason;
    expect({ code, data }).toEqual({ code: 'peer-lost', data: { peer } });
    expect(message).toContain('goodbye');
  } finally {
    session.dispose();
    await server.close();
  }
});

test('a page counts the time of its links in a worker', async ({ page }) => {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const server = await createServer({ configFile: false, root, server: { port: 0 }, logLevel: 'error' });
  await server.listen();
  try {
    const url = server.resolvedUrls?.local[0] ?? '';
    await page.goto(`${url}tests/e2e/golden/index.html`);
    const rung = await page.evaluate(async (module) => {
      const imported = (await import(module)) as { readonly startWorkerClock: typeof startWorkerClock };
      // The page's own timers do nothing: what rings, the worker rang.
      window.setTimeout = (() => 0) as unknown as typeof window.setTimeout;
      const clock = imported.startWorkerClock();
      const names: string[] = [];
      const cancel = clock.after(20, () => names.push('cancelled'));
      clock.after(60, () => names.push('second'));
      clock.after(30, () => names.push('first'));
      cancel();
      await new Promise<void>((resolve) => void clock.after(90, resolve));
      return names;
    }, '/src/contributor/worker-clock.ts');
    expect(rung).toEqual(['first', 'second']);
    expect(page.workers().map((worker) => worker.url())).toEqual([expect.stringContaining('clock-worker')]);
  } finally {
    await server.close();
  }
});

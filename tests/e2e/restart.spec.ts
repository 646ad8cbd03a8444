import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@playwright/test';
import { ServerProcess } from '../chaos/server-process.ts';
import {
  ask,
  expectAnswer,
  expectPhase,
  goldenAnswer,
  openChat,
  routeOf,
  selfOf,
  serveFrom,
} from './mesh.ts';

/** From the moment that the new server listens. */
const BACK_WITHIN_MS = 5_000;

test('a server killed in the middle of an answer: it ends right, and all tabs are back in 5 s', async ({
  context,
}) => {
  const stateFolder = await mkdtemp(join(tmpdir(), 'skein-restart-'));
  const server = await ServerProcess.open({
    stages: 3,
    stateFolder,
    vulkanDriver: null,
    onWords: (line) => console.log(line),
  });
  try {
    const contributors = await serveFrom(context, server.url, 3);
    const names = () => Promise.all(contributors.map(selfOf));
    const namesBefore = await names();
    const page = await openChat(context, server.url);
    const turn = await ask(page, 'Count to 12.');
    await expect(turn.getByTestId('answer')).toContainText('1');
    const route = await routeOf(turn);

    await server.kill();
    await expect(turn).toHaveAttribute('data-phase', 'writing');
    const status = page.getByTestId('status');
    await expect(status).toHaveAttribute('data-phase', 'reconnecting');
    await expect(status).toContainText('The server is away; answers go on.');
    await expect(page.getByRole('button', { name: 'Connect now' })).toBeVisible();
    for (const tab of contributors) await expectPhase(tab, 'serving');

    await server.start();
    const listensAt = performance.now();
    const leftMs = () => Math.max(BACK_WITHIN_MS - (performance.now() - listensAt), 1);
    for (const tab of [page, ...contributors]) {
      const online = expect(tab.getByTestId('status'), 'every page is connected in time');
      await online.toHaveAttribute('data-phase', 'online', { timeout: leftMs() });
    }
    await expect
      .poll(() => server.health(), { message: 'every layer is served in time', timeout: leftMs() })
      .toMatchObject({ contributors: 3, covered: ['skein-tiny'] });

    await expectAnswer(turn, goldenAnswer('Count to 12.'));
    expect(await routeOf(turn)).toEqual(route);
    expect(await names()).toEqual(namesBefore);
    for (const tab of contributors) await expectPhase(tab, 'serving');
    await page.getByRole('button', { name: 'Start over' }).click();
    await expectAnswer(await ask(page, 'What is Skein?'), goldenAnswer('What is Skein?'));
  } finally {
    await server.kill();
    await rm(stateFolder, { recursive: true, force: true });
  }
});

test('a page that was opened while the server was away finds it when it is there', async ({ context }) => {
  const stateFolder = await mkdtemp(join(tmpdir(), 'skein-restart-'));
  const server = await ServerProcess.open({
    stages: 1,
    stateFolder,
    vulkanDriver: null,
    onWords: (line) => console.log(line),
  });
  try {
    const page = await context.newPage();
    // The page itself is there, and the signaling is not.
    let isAway = true;
    await page.routeWebSocket(/\/signal$/, (socket) => {
      if (isAway) void socket.close();
      else socket.connectToServer();
    });
    await page.goto(server.url);
    const status = page.getByTestId('status');
    await expect(status).toHaveAttribute('data-phase', 'offline');
    await expect(status).toContainText('The server is away. Connecting again in');
    isAway = false;
    await page.getByRole('button', { name: 'Connect now' }).click();
    await expect(status).toHaveAttribute('data-phase', 'online');
  } finally {
    await server.kill();
    await rm(stateFolder, { recursive: true, force: true });
  }
});

import { expect, test } from '@playwright/test';
import { startMesh } from '../rig/local-server.ts';
import {
  answering,
  ask,
  expectAnswer,
  expectPhase,
  goldenAnswer,
  openChat,
  routeOf,
  selfOf,
  serveFrom,
} from './mesh.ts';

test('an answer goes on when the tab that computes it is closed', async ({ context }) => {
  const server = await startMesh(1);
  try {
    const tabs = await serveFrom(context, server.url, 2);
    const peers = await Promise.all(tabs.map(selfOf));
    const page = await openChat(context, server.url);
    const turn = await ask(page, 'What is Skein?');
    await expect(turn.getByTestId('answer')).toContainText('Skein');
    const [before] = await routeOf(turn);
    await (await answering(turn, tabs)).close();

    await expectAnswer(turn, goldenAnswer('What is Skein?'));
    const [after] = await routeOf(turn);
    expect(peers).toContain(after?.peer);
    expect(after?.peer).not.toBe(before?.peer);
    const lost = before?.peer.slice(0, 6) ?? '';
    await expect(turn.getByTestId('losses')).toContainText(`Tab ${lost} left: went on without it after`);
  } finally {
    await server.close();
  }
});

test('a lost server is said, and everybody comes back to it', async ({ context }) => {
  let server = await startMesh(1);
  const { port, url } = server;
  try {
    const [contributor] = await serveFrom(context, url, 1);
    if (contributor === undefined) throw new Error('no contributor');
    const page = await openChat(context, url);
    await expectAnswer(await ask(page, 'Who are you?'), goldenAnswer('Who are you?'));

    await server.close();
    for (const each of [page, contributor]) {
      await expect(each.getByTestId('status')).toHaveAttribute('data-phase', 'reconnecting');
      await expect(each.getByTestId('status')).toContainText('The server is away; answers go on.');
    }
    await expect(page.getByRole('button', { name: 'Send' })).toBeDisabled();
    await expectPhase(contributor, 'serving');

    server = await startMesh(1, port);
    await expect(page.getByTestId('status')).toHaveAttribute('data-phase', 'online');
    await expectPhase(contributor, 'serving');
    await page.getByRole('button', { name: 'Start over' }).click();
    await expectAnswer(await ask(page, 'Spell window.'), goldenAnswer('Spell window.'));
  } finally {
    await server.close();
  }
});

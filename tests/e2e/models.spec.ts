import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@playwright/test';
import { BOOTSTRAP, childEnvironment } from '../rig/child-environment.ts';
import { ServerProcess } from '../chaos/server-process.ts';
import { EMBEDDED_MODEL } from '../rig/local-server.ts';
import { ask, expectAnswer, expectPhase, goldenAnswer, openChat, routeOf, startTab } from './mesh.ts';

const run = promisify(execFile);

test('a model is added and another removed while answers run, and the pages follow', async ({ context }) => {
  const stateFolder = await mkdtemp(join(tmpdir(), 'skein-models-'));
  const options = { stateFolder, vulkanDriver: null };
  const server = await ServerProcess.open({
    ...options,
    stages: 1,
    onWords: (line) => console.log(line),
  });
  const skein = (...command: string[]) =>
    run(process.execPath, [BOOTSTRAP, 'skein', ...command, '--server', server.url], {
      env: childEnvironment(options),
    });
  try {
    const first = await startTab(context, server.url);
    await expectPhase(first, 'serving');
    const chat = await openChat(context, server.url);
    await expect(chat.getByTestId('model')).toHaveText('skein-tiny');

    // Another name makes it another model, whose answers are known.
    const folder = join(stateFolder, 'second-model');
    await symlink(EMBEDDED_MODEL, folder);
    const during = await ask(chat, 'Count to 12.');
    const { stdout } = await skein('models', 'add', folder);
    expect(stdout).toContain('second-model is offered: 8 layers');
    await expectAnswer(during, goldenAnswer('Count to 12.'));
    await expect(chat.getByTestId('model').getByRole('option')).toHaveText(['skein-tiny', 'second-model']);

    const second = await startTab(context, server.url);
    await expectPhase(second, 'serving');
    await expect
      .poll(async () => (await server.health())?.covered)
      .toEqual(expect.arrayContaining(['skein-tiny', 'second-model']));
    await chat.getByRole('button', { name: 'Start over' }).click();
    await chat.getByTestId('model').selectOption('second-model');
    const other = await ask(chat, 'What is 7 * 8?');
    await expectAnswer(other, goldenAnswer('What is 7 * 8?'));
    const [hop] = await routeOf(other);
    expect(hop?.peer).toBe(await second.getByTestId('self').getAttribute('title'));

    await chat.getByRole('button', { name: 'Start over' }).click();
    await chat.getByTestId('model').selectOption('skein-tiny');
    const last = await ask(chat, 'Count to 12.');
    await expect(last.getByTestId('answer')).toContainText('1');
    const key = (await readFile(join(stateFolder, 'skein', 'operator-key'), 'utf8')).trim();
    const drained = await fetch(`${server.url}/admin/models/skein-tiny`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${key}` },
    });
    expect(await drained.json()).toMatchObject({ model: { state: 'draining', requests: 1 } });
    await expectAnswer(last, goldenAnswer('Count to 12.'));
    await expect(chat.getByTestId('model')).toHaveText('second-model');
    await expect.poll(async () => (await server.health())?.covered).toEqual(['second-model']);

    await chat.getByRole('button', { name: 'Start over' }).click();
    await expectAnswer(await ask(chat, 'What is Skein?'), goldenAnswer('What is Skein?'));

    await server.kill();
    await server.start();
    await expect.poll(async () => (await server.health())?.covered).toEqual(['second-model']);
  } finally {
    await server.kill();
    await rm(stateFolder, { recursive: true, force: true });
  }
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@playwright/test';
import { BOOTSTRAP, childEnvironment } from '../rig/child-environment.ts';
import { startMesh } from '../rig/local-server.ts';
import { findRig } from '../rig/rig.ts';
import { ask, expectAnswer, expectPhase, goldenAnswer, openChat, routeOf, selfOf, startTab } from './mesh.ts';

test('two tabs and a machine without a browser answer as one, each with layers of its own', async ({
  context,
}) => {
  const server = await startMesh(3);
  const stateFolder = await mkdtemp(join(tmpdir(), 'skein-join-'));
  const env = childEnvironment({ stateFolder, vulkanDriver: findRig().vulkanDrivers.lavapipe ?? null });
  const machine = spawn(process.execPath, [BOOTSTRAP, 'skein', 'join', server.url, '--json'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  machine.stdout.setEncoding('utf8').on('data', (words: string) => (said += words));
  try {
    const tabs = await Promise.all([startTab(context, server.url), startTab(context, server.url)]);
    for (const tab of tabs) await expectPhase(tab, 'serving');
    const page = await openChat(context, server.url);
    const turn = await ask(page, 'What is Skein?');
    await expectAnswer(turn, goldenAnswer('What is Skein?'));
    const peers = (await routeOf(turn)).map(({ peer }) => peer);
    const known = await Promise.all(tabs.map(selfOf));
    const [other, ...none] = peers.filter((peer) => !known.includes(peer));
    expect([peers.length, none]).toEqual([3, []]);
    expect(said).toContain(`"peer":"${String(other)}"`);
  } finally {
    machine.kill('SIGKILL');
    await once(machine, 'exit');
    await server.close();
    await rm(stateFolder, { recursive: true, force: true });
  }
});

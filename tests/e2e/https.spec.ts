import { mkdtemp, rm } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@playwright/test';
import { reachableAddresses } from '../../src/cli/certificate-names.ts';
import { ServerProcess } from '../chaos/server-process.ts';
import { ask, expectAnswer, expectPhase, goldenAnswer, openChat, startTab } from './mesh.ts';

test.use({ ignoreHTTPSErrors: true });

test('a phone that opens the address of the machine is led to HTTPS, and lends its GPU there', async ({
  context,
}) => {
  const [address] = reachableAddresses('0.0.0.0', networkInterfaces());
  if (address === undefined) throw new Error('This machine has no address but loopback ones.');
  const stateFolder = await mkdtemp(join(tmpdir(), 'skein-https-'));
  const server = await ServerProcess.open({
    stages: 1,
    stateFolder,
    vulkanDriver: null,
    arguments: ['--https', '--host', '0.0.0.0'],
    onWords: (line) => console.log(line),
  });
  try {
    const { port } = new URL(server.url);
    const plain = await context.newPage();
    const answer = await plain.goto(`http://${address}:${port}/contribute/`);
    expect(answer?.status()).toBe(403);
    await expect(plain.getByRole('heading', { level: 1 })).toHaveText('Open this page over HTTPS');
    await expect(plain.getByRole('img', { name: /QR code/ })).toBeVisible();
    expect(await plain.evaluate('isSecureContext')).toBe(false);
    const refused = await plain.evaluate(
      (url) =>
        new Promise((resolve) => {
          const socket = new WebSocket(url);
          socket.onopen = () => resolve(false);
          socket.onerror = () => resolve(true);
        }),
      `ws://${address}:${port}/signal`,
    );
    expect(refused).toBe(true);

    await plain.getByRole('link').click();
    await expect(plain).toHaveURL(`https://${address}:${port}/contribute/`);
    expect(await plain.evaluate('isSecureContext && crossOriginIsolated')).toBe(true);
    await plain.close();

    const url = `https://${address}:${port}`;
    const tab = await startTab(context, url);
    await expectPhase(tab, 'serving');
    const chat = await openChat(context, url);
    await expectAnswer(await ask(chat, 'What is Skein?'), goldenAnswer('What is Skein?'));
  } finally {
    await server.kill();
    await rm(stateFolder, { recursive: true, force: true });
  }
});

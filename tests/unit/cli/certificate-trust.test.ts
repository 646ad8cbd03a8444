import { afterEach, beforeAll, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { parseFingerprint, trustFingerprint } from '../../../src/cli/certificate-trust.ts';
import { SignalingClient } from '../../../src/mesh/signaling-client.ts';
import { makeCertificate } from '../../fixtures/certificate.ts';
import type { MadeCertificate } from '../../fixtures/certificate.ts';
import { ServerRig } from '../signaling/server-rig.ts';

const DISPATCHER = Symbol.for('undici.globalDispatcher.1');

const rig = new ServerRig();
let certificate: MadeCertificate;
let untrusting: unknown;
beforeAll(async () => {
  certificate = await makeCertificate();
  await fetch('data:,');
  untrusting = Reflect.get(globalThis, DISPATCHER);
});
afterEach(async () => {
  Reflect.set(globalThis, DISPATCHER, untrusting);
  await rig.stopAll();
});

async function startTls(made: MadeCertificate): Promise<string> {
  const { port } = await rig.start({ tls: { ...made, isSelfMade: true } });
  return `https://localhost:${port}`;
}

it('takes fingerprints as people write them', () => {
  const digits = 'ab'.repeat(32);
  for (const text of [digits, 'AB:'.repeat(32).slice(0, -1), `sha256:${digits}`, `SHA-256=${digits}`]) {
    expect(parseFingerprint(text)).toBe(digits);
  }
  for (const text of ['', 'ab', digits.slice(1), `${digits}0`, 'g'.repeat(64)]) {
    expect(() => parseFingerprint(text)).toThrow('64 digits');
  }
});

it('makes requests and sockets trust the certificate of the fingerprint, and no other', async () => {
  const url = await startTls(certificate);
  const signal = url.replace('https', 'wss') + '/signal';
  await expect(fetch(`${url}/healthz`)).rejects.toThrow('fetch failed');
  expect(await trustFingerprint(url, undefined)).toEqual({});
  const untrusted = { createSocket: (address: string) => new WebSocket(address) };
  await expect(SignalingClient.connect(signal, untrusted)).rejects.toMatchObject({ code: 'server-lost' });

  const parts = await trustFingerprint(url, parseFingerprint(certificate.fingerprint));
  expect(await (await fetch(`${url}/healthz`)).json()).toMatchObject({ status: 'ok' });
  const client = await SignalingClient.connect(signal, parts);
  expect(client.welcome.models).toHaveLength(1);
  client.close();

  const other = await startTls(await makeCertificate());
  await expect(fetch(`${other}/healthz`)).rejects.toThrow('fetch failed');
  await expect(
    SignalingClient.connect(`${other.replace('https', 'wss')}/signal`, parts),
  ).rejects.toMatchObject({ code: 'server-lost' });
});

it('is refused for another certificate, and trusts nothing then', async () => {
  const url = await startTls(await makeCertificate());
  const trust = trustFingerprint(url, parseFingerprint(certificate.fingerprint));
  await expect(trust).rejects.toMatchObject({
    code: 'bad-argument',
    message: expect.stringContaining('another server') as string,
  });
  await expect(fetch(`${url}/healthz`)).rejects.toThrow('fetch failed');
});

it('is refused where it could not work: a name that is not in it, an authority behind it, no TLS', async () => {
  const url = await startTls(certificate);
  const right = parseFingerprint(certificate.fingerprint);
  await expect(trustFingerprint(url.replace('localhost', '127.0.0.2'), right)).rejects.toThrow();
  const issued = await makeCertificate([-1, 30], certificate);
  const issuedUrl = await startTls(issued);
  await expect(trustFingerprint(issuedUrl, parseFingerprint(issued.fingerprint))).rejects.toThrow(
    'issued by an authority',
  );
  await expect(trustFingerprint('http://localhost:1', right)).rejects.toThrow('https://');
  const { port } = await rig.start();
  await expect(trustFingerprint(`https://localhost:${port}`, right)).rejects.toMatchObject({
    code: 'server-lost',
  });
  await expect(trustFingerprint(url, right, AbortSignal.abort())).rejects.toMatchObject({ code: 'aborted' });
});

import { once } from 'node:events';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { request as requestTls } from 'node:https';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { ServerOptions } from '../../../signaling/server.ts';
import { makeCertificate } from '../../fixtures/certificate.ts';
import type { MadeCertificate } from '../../fixtures/certificate.ts';
import { openRaw, readAll, ServerRig } from './server-rig.ts';

const rig = new ServerRig();
let certificate: MadeCertificate;
beforeAll(async () => {
  certificate = await makeCertificate();
});
afterEach(() => rig.stopAll());

const start = (overrides: Partial<ServerOptions> = {}) =>
  rig.start({ tls: { ...certificate, isSelfMade: true }, ...overrides });

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

/** A request under a name that may be another machine's. */
async function ask(
  port: number,
  path: string,
  { tls = false, headers = {} }: { tls?: boolean; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const options = { host: '127.0.0.1', port, path, headers, agent: false };
  const sent = tls ? requestTls({ ...options, ca: certificate.cert }) : request(options);
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text: Buffer.concat(chunks).toString('utf8'),
  };
}

const FROM_LAN = { host: '192.168.1.5:3000', accept: 'text/html' };

describe('one port', () => {
  it('answers HTTPS and HTTP, also byte by byte', async () => {
    const { port } = await start();
    expect(await ask(port, '/healthz', { tls: true })).toMatchObject({ status: 200 });
    expect(await ask(port, '/healthz')).toMatchObject({ status: 200 });
    const [plain, secure] = [
      await openRaw({ port }),
      connectTls({ port, host: '127.0.0.1', ca: certificate.cert }),
    ];
    for (const socket of [plain, secure]) {
      for (const byte of 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
        socket.write(byte);
      expect(await readAll(socket)).toContain('200 OK');
    }
  });

  it('speaks no TLS before 1.2, and cuts what only looks like TLS', async () => {
    const { port } = await start();
    const old = connectTls({ port, host: '127.0.0.1', ca: certificate.cert, maxVersion: 'TLSv1.1' });
    const [error] = (await once(old, 'error')) as [Error];
    expect(error).toBeInstanceOf(Error);
    const garbage = await openRaw({ port });
    garbage.write(Buffer.concat([Buffer.from([0x16]), Buffer.alloc(200, 7)]));
    await readAll(garbage);
    expect(await ask(port, '/healthz')).toMatchObject({ status: 200 });
  });

  it('cuts who says nothing, begins TLS and does not go on, or trickles a head over TLS', async () => {
    const { port } = await start({ requestHeadTimeoutMs: 200 });
    const [mute, half] = [await openRaw({ port }), await openRaw({ port })];
    half.write(Buffer.from([0x16, 3, 1]));
    const secure = connectTls({ port, host: '127.0.0.1', ca: certificate.cert });
    await once(secure, 'secureConnect');
    secure.write('GET /healthz HT');
    const [slow] = await Promise.all([readAll(secure), readAll(mute), readAll(half)]);
    expect(slow).toContain('408 Request Timeout');
  });

  it('counts connections of an address, whatever they speak', async () => {
    const { port } = await start({ maxConnectionsPerAddress: 2 });
    const [plain, secure] = [
      await openRaw({ port }),
      connectTls({ port, host: '127.0.0.1', ca: certificate.cert }),
    ];
    await once(secure, 'secureConnect');
    await readAll(await openRaw({ port }));
    const third = connectTls({ port, host: '127.0.0.1', ca: certificate.cert });
    third.on('error', () => undefined);
    await new Promise((resolve) => third.once('close', resolve));
    expect(third.authorized).toBe(false);
    plain.destroy();
    secure.destroy();
  });

  it('is free as soon as the server is closed, whoever is in the middle of something', async () => {
    const server = await start();
    const { port } = server;
    const [mute, half] = [await openRaw({ port }), await openRaw({ port })];
    half.write(Buffer.from([0x16, 3, 1]));
    const secure = connectTls({ port, host: '127.0.0.1', ca: certificate.cert });
    await once(secure, 'secureConnect');
    const gone = Promise.all([readAll(mute), readAll(half), readAll(secure)]);
    await server.close();
    await gone;
  });
});

describe('plain HTTP from another machine', () => {
  it('gets pages that say where they are, why, and what the warning is about', async () => {
    const { port } = await start();
    const page = await ask(port, '/contribute/?x=1', { headers: FROM_LAN });
    expect(page.status).toBe(403);
    expect(page.headers['content-type']).toContain('text/html');
    expect(page.headers['cache-control']).toBe('no-store');
    expect(page.text).toContain('<a href="https://192.168.1.5:3000/contribute/?x=1">');
    expect(page.text).toContain(
      '<svg role="img" aria-label="QR code of https://192.168.1.5:3000/contribute/?x=1"',
    );
    expect(page.text).toContain(certificate.fingerprint);
    expect(page.text).toContain('no authority vouches for it');
    const program = await ask(port, '/', { headers: { host: '192.168.1.5:3000' } });
    expect(program.status).toBe(403);
    expect(JSON.parse(program.text)).toMatchObject({ error: { code: 'bad-argument' } });
  });

  it('repeats nothing that could be markup, and no link that no code holds', async () => {
    const { port } = await start();
    const odd = await ask(port, `/"><script>alert(1)</script>&`, { headers: FROM_LAN });
    expect(odd.text).not.toContain('<script');
    const long = await ask(port, `/${'x'.repeat(8000)}`, { headers: FROM_LAN });
    expect(long.text).toContain('<a href="https://192.168.1.5:3000/">');
    const host = await ask(port, '/', { headers: { ...FROM_LAN, host: 'a"b<c' } });
    expect(host.text).not.toContain('b<c');
  });

  it('says nothing of a warning where the certificate is the operator’s', async () => {
    const { port } = await start({ tls: { ...certificate, isSelfMade: false } });
    const page = await ask(port, '/', { headers: FROM_LAN });
    expect(page.text).not.toContain('vouches');
    expect(page.text).toContain(certificate.fingerprint);
  });

  it('answers programs as ever: probes, the API and the files of models', async () => {
    const { port } = await start();
    expect(await ask(port, '/healthz', { headers: FROM_LAN })).toMatchObject({ status: 200 });
    for (const path of ['/v1/models', '/models/x/config.json', '/metrics']) {
      expect((await ask(port, path, { headers: FROM_LAN })).status).not.toBe(403);
    }
  });

  it('is no matter over TLS, on this machine, behind a proxy that speaks TLS, and without HTTPS', async () => {
    const secure = await start();
    expect((await ask(secure.port, '/', { tls: true, headers: FROM_LAN })).status).toBe(404);
    for (const host of ['localhost:1', '127.0.0.1', '[::1]:1', 'mesh.localhost']) {
      expect((await ask(secure.port, '/', { headers: { ...FROM_LAN, host } })).status).toBe(404);
    }
    const forwarded = { ...FROM_LAN, 'x-forwarded-proto': 'https' };
    expect((await ask(secure.port, '/', { headers: forwarded })).status).toBe(403);
    const proxied = await start({ trustProxy: true });
    expect((await ask(proxied.port, '/', { headers: forwarded })).status).toBe(404);
    const plain = await rig.start();
    expect((await ask(plain.port, '/', { headers: FROM_LAN })).status).toBe(404);
  });
});

describe('a WebSocket', () => {
  const open = (url: string, origin?: string) =>
    new WebSocket(url, { ca: certificate.cert, ...(origin !== undefined && { origin }) });

  it('is refused to pages that came over plain HTTP from elsewhere, with the reason', async () => {
    const { port } = await start();
    const socket = open(`ws://127.0.0.1:${port}/signal`, `http://192.168.1.5:${port}`);
    socket.on('error', () => undefined);
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
    expect(response.statusCode).toBe(403);
    const [body] = (await once(response, 'data')) as [Buffer];
    expect(body.toString('utf8')).toContain('https://');
  });

  it('opens over TLS, from this machine, and for programs', async () => {
    const { port } = await start();
    for (const [url, origin] of [
      [`wss://localhost:${port}/signal`, `https://192.168.1.5:${port}`],
      [`wss://localhost:${port}/signal`, undefined],
      [`ws://127.0.0.1:${port}/signal`, `http://localhost:${port}`],
      [`ws://127.0.0.1:${port}/signal`, undefined],
    ] as const) {
      const socket = open(url, origin);
      await once(socket, 'open');
      socket.terminate();
    }
  });
});

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { newPeerId } from '../../../src/protocol/ids.ts';
import { SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';
import {
  ADDRESS_CONNECTION_BURST,
  HELLO_TIMEOUT_MS,
  MAX_MESSAGE_FRAGMENTS,
  MAX_SIGNAL_CHARACTERS,
  MAX_STRIKES,
  PLACEMENT_BURST,
} from '../../../signaling/limits.ts';
import type { RunningServer } from '../../../signaling/server.ts';
import { JOIN, ManualBeat, openRaw, readAll, ServerRig } from './server-rig.ts';
import { SignalClient } from './signal-client.ts';

const POLICY_VIOLATION = 1008;
const TEXT = 1;
const CONTINUATION = 0;
const PING = 9;
/** Signals of the largest size that one socket may send at once. */
const MESSAGES_OF_ONE = 100;

const rig = new ServerRig();
const start = rig.start.bind(rig);
afterEach(async () => {
  vi.restoreAllMocks();
  await rig.stopAll();
});

const health = async ({ url }: RunningServer) =>
  (await (await fetch(`${url}/healthz`)).json()) as Record<string, unknown>;

/** A WebSocket of whoever does not keep to the library's ways. */
async function openRawWebSocket(server: RunningServer): Promise<Socket> {
  const socket = await openRaw(server);
  const key = createHash('md5').update('any').digest('base64');
  socket.write(
    `GET /signal HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString('latin1')).toContain('101 Switching Protocols');
  return socket;
}

/** One frame from a client: masked with zeros. */
function frame(opcode: number, payload: string, isLast = true): Buffer {
  const body = Buffer.from(payload);
  const head = Buffer.from([(isLast ? 0x80 : 0) | opcode, 0x80 | Math.min(body.length, 126)]);
  const length = Buffer.alloc(body.length < 126 ? 0 : 2);
  if (body.length >= 126) length.writeUInt16BE(body.length);
  return Buffer.concat([head, length, Buffer.alloc(4), body]);
}

const HELLO = JSON.stringify({ type: 'hello', version: SIGNALING_VERSION });

describe('who takes long to say what it wants', () => {
  it('is cut while the head of a request trickles in, and while nothing comes at all', async () => {
    const server = await start({ requestHeadTimeoutMs: 200 });
    const [slow, mute] = [await openRaw(server), await openRaw(server)];
    slow.write('GET /healthz HTTP/1.1\r\nHost: x\r\n');
    let lines = 0;
    const trickle = setInterval(() => slow.write(`X-Line-${(lines += 1)}: more\r\n`), 20);
    const [answer] = await Promise.all([readAll(slow), readAll(mute)]);
    clearInterval(trickle);
    expect(answer).toContain('408 Request Timeout');
    expect(lines).toBeGreaterThan(2);
    expect(await health(server)).toMatchObject({ status: 'ok' });
  });

  it('is cut when an upgrade to a WebSocket never ends, or no hello follows', async () => {
    const ticks = new ManualBeat();
    const server = await start({ requestHeadTimeoutMs: 200, everyTick: ticks.every });
    const upgrading = await openRaw(server);
    upgrading.write('GET /signal HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n');
    expect(await readAll(upgrading)).toContain('408');

    const silent = await openRawWebSocket(server);
    const trickling = await openRawWebSocket(server);
    // A frame of which the end never comes: such a client answers no ping either.
    trickling.write(frame(TEXT, HELLO).subarray(0, 20));
    const ends = Promise.all([readAll(silent), readAll(trickling)]);
    const now = performance.now();
    vi.spyOn(performance, 'now').mockReturnValue(now + HELLO_TIMEOUT_MS);
    ticks.beat();
    await ends;
  });

  it('is cut in the middle of a message by the next pings, though it said hello', async () => {
    const pings = new ManualBeat();
    const server = await start({ everyPing: pings.every });
    const socket = await openRawWebSocket(server);
    socket.write(frame(TEXT, HELLO));
    await vi.waitFor(async () => expect(await health(server)).toMatchObject({ peers: 1 }));
    socket.write(frame(TEXT, 'x'.repeat(1000)).subarray(0, 500));
    const end = readAll(socket);
    pings.beat();
    pings.beat();
    await end;
    await vi.waitFor(async () => expect(await health(server)).toMatchObject({ peers: 0 }));
  });
});

describe('who opens too much', () => {
  it('gets only so many connections from one address', async () => {
    const server = await start({ maxConnectionsPerAddress: 3 });
    const open = await Promise.all([1, 2, 3].map(() => openRaw(server)));
    const refused = await openRaw(server);
    expect(await readAll(refused)).toBe('');
    open[0]?.destroy();
    await vi.waitFor(async () => expect(await health(server)).toMatchObject({ status: 'ok' }));
    for (const socket of open) socket.destroy();
  });

  it('gets only so many sockets in a time, however soon it closes them', async () => {
    const now = performance.now();
    vi.spyOn(performance, 'now').mockReturnValue(now);
    const { url } = await start({ maxSocketsPerAddress: 2 * ADDRESS_CONNECTION_BURST });
    const opened: SignalClient[] = [];
    for (let count = 0; count < ADDRESS_CONNECTION_BURST; count += 1) {
      const client = await SignalClient.connect(url);
      client.socket.terminate();
      opened.push(client);
    }
    await expect(SignalClient.connect(url)).rejects.toThrow('429');
    vi.spyOn(performance, 'now').mockReturnValue(now + 1000);
    expect((await SignalClient.greeted(url)).peer).toMatch(/^[0-9a-f]{32}$/);
  }, 20_000);
});

describe('who says too much', () => {
  it('is closed for joining and leaving without end, and the pages hear little of it', async () => {
    const { url } = await start();
    const watcher = await SignalClient.greeted(url);
    const flapping = await SignalClient.greeted(url);
    for (let count = 0; count < PLACEMENT_BURST + MAX_STRIKES; count += 1) {
      flapping.send(count % 2 === 0 ? JOIN : { type: 'leave' });
    }
    expect(await flapping.closed).toBe(POLICY_VIOLATION);
    const errors = flapping.received.filter((message) => message.type === 'error');
    expect(errors.map(({ error }) => error.code)).toEqual(errors.map(() => 'busy'));
    expect(errors).toHaveLength(MAX_STRIKES);
    await watcher.next('mesh', ({ members }) => members.length === 0);
    watcher.send(JOIN);
    await watcher.next('assign');
  });

  it('is closed for messages out of order', async () => {
    const { url } = await start();
    const client = await SignalClient.greeted(url);
    for (let count = 0; count < MAX_STRIKES; count += 1)
      client.send({ type: 'hello', version: SIGNALING_VERSION });
    expect(await client.closed).toBe(POLICY_VIOLATION);
    expect(client.received.filter(({ type }) => type === 'error')).toHaveLength(MAX_STRIKES);
  });

  it('is closed for a message in too many parts, of which each may be empty', async () => {
    for (const part of ['x', '']) {
      const server = await start();
      const socket = await openRawWebSocket(server);
      const end = readAll(socket);
      socket.write(frame(TEXT, part, false));
      for (let count = 0; count < MAX_MESSAGE_FRAGMENTS; count += 1) {
        socket.write(frame(CONTINUATION, part, false));
      }
      await end;
    }
  });

  it('is closed for pings without end, and is sent no answer to most of them', async () => {
    const server = await start();
    const socket = await openRawWebSocket(server);
    socket.write(frame(TEXT, HELLO));
    const end = readAll(socket);
    const pings = Buffer.concat(Array.from({ length: 5000 }, () => frame(PING, 'x'.repeat(125))));
    socket.write(pings);
    expect((await end).length).toBeLessThan(pings.length / 2);
    await vi.waitFor(async () => expect(await health(server)).toMatchObject({ peers: 0 }));
  });
});

describe('who does not read', () => {
  it('is sent no more than it may leave unread, and cannot be made to be cut by others', async () => {
    const server = await start();
    const reader = await SignalClient.greeted(server.url);
    reader.socket.pause();
    const data = 'x'.repeat(MAX_SIGNAL_CHARACTERS - 100);
    // What the kernel holds for a reader comes on top of what the server may.
    const KERNEL_BYTES = 16 * 1024 * 1024;
    const before = process.memoryUsage().arrayBuffers;
    let sender = await SignalClient.greeted(server.url);
    let refused = 0;
    for (let sent = 0; refused === 0 && sent * data.length < 2 * KERNEL_BYTES; sent += 1) {
      // Fewer than a socket may say at once; and with an answer to something else, all before it has been handled.
      if (sent % MESSAGES_OF_ONE === MESSAGES_OF_ONE - 1) sender = await SignalClient.greeted(server.url);
      sender.send({ type: 'signal', to: reader.peer, data });
      sender.send({ type: 'signal', to: newPeerId(), data: null });
      const { error } = await sender.next('error');
      if (error.message.includes('slow to read')) refused += 1;
    }
    expect(refused).toBeGreaterThan(0);
    const heldBytes = process.memoryUsage().arrayBuffers - before;
    expect(heldBytes).toBeLessThan(KERNEL_BYTES);
    expect(await health(server)).toMatchObject({ status: 'ok' });
    const ended = reader.closed;
    reader.socket.resume();
    await vi.waitFor(() => {
      sender.send({ type: 'signal', to: reader.peer, data: 'after' });
      expect(reader.received.some((message) => message.type === 'signal' && message.data === 'after')).toBe(
        true,
      );
    });
    expect(await Promise.race([ended, Promise.resolve('open')])).toBe('open');
  }, 20_000);
});

import { EventEmitter } from 'node:events';
import { afterEach, expect, it, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { AddressBook } from '../../../signaling/address-book.ts';
import { ClientSocket } from '../../../signaling/client-socket.ts';
import type { ClientSocketDeps } from '../../../signaling/client-socket.ts';
import {
  CLOSE_GRACE_MS,
  MAX_SEND_QUEUE_BYTES,
  MAX_STRIKES,
  MESSAGE_BURST,
  SLOW_READER_BYTES,
  STRIKE_MEMORY_SECONDS,
} from '../../../signaling/limits.ts';
import { MessageLimits } from '../../../signaling/message-limits.ts';

/** A socket whose reader is as slow as the test wants. */
class FakeWebSocket extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  readonly sent: string[] = [];
  readonly pings: Buffer[] = [];
  terminated = false;

  readonly closes: [number, string][] = [];

  send(text: string | Buffer): void {
    this.sent.push(text.toString());
  }

  close(code: number, reason: string): void {
    this.closes.push([code, reason]);
    this.readyState = 2;
  }

  ping(payload: Buffer): void {
    this.pings.push(payload);
  }

  terminate(): void {
    this.terminated = true;
  }
}

function socketOver(fake: FakeWebSocket, deps: Partial<ClientSocketDeps> = {}): ClientSocket {
  return new ClientSocket(fake as unknown as WebSocket, {
    limits: new MessageLimits(new AddressBook().opened('10.0.0.1', 0), 0),
    onMessage: () => undefined,
    onRoundTrip: () => undefined,
    onClose: () => undefined,
    onAbuse: () => undefined,
    nowMs: () => 0,
    ...deps,
  });
}

afterEach(() => {
  vi.useRealTimers();
});

it('cuts a reader that lets its queue grow, instead of filling memory', () => {
  const fake = new FakeWebSocket();
  const abuses: string[] = [];
  const socket = socketOver(fake, { onAbuse: (reason) => abuses.push(reason) });
  fake.bufferedAmount = MAX_SEND_QUEUE_BYTES;
  socket.send({ type: 'unassign' });
  expect(fake.sent).toEqual(['{"type":"unassign"}']);
  expect(fake.terminated).toBe(false);
  fake.bufferedAmount = MAX_SEND_QUEUE_BYTES + 1;
  socket.send({ type: 'unassign' });
  expect(fake.sent).toHaveLength(1);
  expect(fake.terminated).toBe(true);
  expect(abuses).toEqual(['does not read what it is sent']);
});

it('does not write to a socket that is closing', () => {
  const fake = new FakeWebSocket();
  const socket = socketOver(fake);
  fake.readyState = 2;
  socket.send({ type: 'unassign' });
  expect(fake.sent).toEqual([]);
});

it('times the answer to its last ping, once, and no answer to anything else', () => {
  const fake = new FakeWebSocket();
  const seconds: number[] = [];
  let nowMs = 1000;
  const socket = socketOver(fake, { nowMs: () => nowMs, onRoundTrip: (taken) => seconds.push(taken) });
  fake.emit('pong', Buffer.alloc(8));
  socket.ping();
  socket.measureRoundTrip();
  const [first, second] = fake.pings;
  nowMs += 40;
  fake.emit('pong', first);
  fake.emit('pong', Buffer.from('guesswork'));
  nowMs += 35;
  fake.emit('pong', second);
  fake.emit('pong', second);
  expect(seconds).toEqual([0.075]);
});

it('cuts a socket that never answers, at the next turn', () => {
  const fake = new FakeWebSocket();
  const socket = socketOver(fake);
  socket.ping();
  socket.measureRoundTrip();
  expect(fake.terminated).toBe(false);
  socket.ping();
  expect(fake.terminated).toBe(true);
});

it('sends who is slow to read the next state of the mesh only, once it reads again', () => {
  const fake = new FakeWebSocket();
  const socket = socketOver(fake);
  socket.sendMesh(Buffer.from('first'));
  fake.bufferedAmount = SLOW_READER_BYTES + 1;
  socket.sendMesh(Buffer.from('second'));
  socket.sendMesh(Buffer.from('third'));
  expect([socket.isSlow, socket.wantsMesh]).toEqual([true, false]);
  fake.bufferedAmount = 0;
  expect(socket.wantsMesh).toBe(true);
  socket.sendMesh(Buffer.from('fourth'));
  expect(socket.wantsMesh).toBe(false);
  expect(fake.sent).toEqual(['first', 'fourth']);
});

it('closes after refused messages that come close together, not after as many over hours', () => {
  for (const pauseSeconds of [0, STRIKE_MEMORY_SECONDS]) {
    const fake = new FakeWebSocket();
    let nowMs = 0;
    socketOver(fake, { nowMs: () => nowMs });
    for (let count = 0; count < MAX_STRIKES; count += 1) {
      expect(fake.closes).toEqual([]);
      fake.emit('message', Buffer.from('garbage'), false);
      nowMs += pauseSeconds * 1000;
    }
    expect(fake.closes).toEqual(pauseSeconds === 0 ? [[1008, 'too many refused messages']] : []);
  }
});

it('counts pings and pongs nobody asked for as messages', () => {
  for (const kind of ['ping', 'pong'] as const) {
    const fake = new FakeWebSocket();
    socketOver(fake);
    for (let count = 0; count < MESSAGE_BURST; count += 1) fake.emit(kind, Buffer.alloc(8));
    expect(fake.sent).toEqual([]);
    for (let count = 0; count < MAX_STRIKES; count += 1) fake.emit(kind, Buffer.alloc(8));
    expect(fake.closes).toHaveLength(1);
  }
});

it('cuts who does not close its end after it was closed', () => {
  vi.useFakeTimers();
  const fake = new FakeWebSocket();
  const socket = socketOver(fake);
  socket.replace();
  expect(fake.closes).toEqual([[4001, 'replaced']]);
  vi.advanceTimersByTime(CLOSE_GRACE_MS - 1);
  expect(fake.terminated).toBe(false);
  vi.advanceTimersByTime(1);
  expect(fake.terminated).toBe(true);
});

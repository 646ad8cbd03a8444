import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { ClientSocket } from '../../../signaling/client-socket.ts';
import type { ClientSocketDeps } from '../../../signaling/client-socket.ts';
import { MAX_SEND_QUEUE_BYTES } from '../../../signaling/limits.ts';

/** A socket whose reader is as slow as the test wants. */
class FakeWebSocket extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  readonly sent: string[] = [];
  readonly pings: Buffer[] = [];
  terminated = false;

  send(text: string): void {
    this.sent.push(text);
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
    onMessage: () => undefined,
    onRoundTrip: () => undefined,
    onClose: () => undefined,
    onAbuse: () => undefined,
    nowMs: () => 0,
    ...deps,
  });
}

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
  socket.ping(true);
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
  socket.ping(true);
  socket.measureRoundTrip();
  expect(fake.terminated).toBe(false);
  socket.ping(true);
  expect(fake.terminated).toBe(true);
});

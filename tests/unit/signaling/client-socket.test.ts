import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { ClientSocket } from '../../../signaling/client-socket.ts';
import { MAX_SEND_QUEUE_BYTES } from '../../../signaling/limits.ts';

/** A socket whose reader is as slow as the test wants. */
class FakeWebSocket extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  readonly sent: string[] = [];
  terminated = false;

  send(text: string): void {
    this.sent.push(text);
  }

  terminate(): void {
    this.terminated = true;
  }
}

it('cuts a reader that lets its queue grow, instead of filling memory', () => {
  const fake = new FakeWebSocket();
  const abuses: string[] = [];
  const socket = new ClientSocket(fake as unknown as WebSocket, {
    onMessage: () => undefined,
    onClose: () => undefined,
    onAbuse: (reason) => abuses.push(reason),
    nowMs: () => 0,
  });
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
  const socket = new ClientSocket(fake as unknown as WebSocket, {
    onMessage: () => undefined,
    onClose: () => undefined,
    onAbuse: () => undefined,
    nowMs: () => 0,
  });
  fake.readyState = 2;
  socket.send({ type: 'unassign' });
  expect(fake.sent).toEqual([]);
});

import { describe, expect, it } from 'vitest';
import { EventQueue } from '../../../src/client/event-queue.ts';
import type { RequestEvent } from '../../../src/client/request-state.ts';

function token(position: number): RequestEvent {
  const scores = { logProbability: -1, topLogProbabilities: [] };
  return { type: 'token', epoch: 0, token: { tokenId: 1, position, ...scores }, atMs: 0 };
}
const woke: RequestEvent = { type: 'woke', epoch: 0, atMs: 0 };
const abort: RequestEvent = { type: 'abort', atMs: 0 };

describe('the events of a request', () => {
  it('come in order, those that are waited for too', async () => {
    const queue = new EventQueue(4);
    const first = queue.next();
    queue.push(token(1));
    queue.push(woke);
    expect([await first, await queue.next()]).toEqual([token(1), woke]);
  });

  it('end with the last, at once', async () => {
    const queue = new EventQueue(4);
    queue.push(token(1));
    queue.close(abort);
    queue.close(woke);
    queue.push(token(2));
    expect(await queue.next()).toEqual(abort);
    const nothing = Symbol('nothing');
    expect(await Promise.race([queue.next(), Promise.resolve(nothing)])).toBe(nothing);
  });

  it('hold no more tokens than an answer may have and a few, and everything else', async () => {
    const queue = new EventQueue(1);
    for (let position = 0; position < 1000; position += 1) queue.push(token(position));
    queue.push(woke);
    const heard: RequestEvent[] = [];
    for (let event = await queue.next(); event !== woke; event = await queue.next()) heard.push(event);
    expect(heard).toHaveLength(65);
    queue.push(token(7));
    expect(await queue.next()).toEqual(token(7));
  });
});

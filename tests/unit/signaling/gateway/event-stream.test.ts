import { describe, expect, it, vi } from 'vitest';
import { CommentBox, eventStream } from '../../../../signaling/gateway/event-stream.ts';
import type { ServerSentEvent } from '../../../../signaling/gateway/event-stream.ts';

/** Counts how many were asked for. */
function counted(events: AsyncIterable<ServerSentEvent>) {
  let asked = 0;
  const iterator = events[Symbol.asyncIterator]();
  const next = (): Promise<IteratorResult<ServerSentEvent, void>> => {
    asked += 1;
    return iterator.next() as Promise<IteratorResult<ServerSentEvent, void>>;
  };
  return { next, asked: () => asked };
}

async function* numbers(count: number): AsyncGenerator<ServerSentEvent, void, void> {
  for (let index = 0; index < count; index += 1) {
    await Promise.resolve();
    yield index % 2 === 0 ? { data: String(index) } : { event: 'odd', data: String(index) };
  }
}

const silent = { next: () => new Promise<never>(() => undefined) };

async function read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> {
  const { value } = await reader.read();
  return new TextDecoder().decode(value);
}

describe('a stream of events', () => {
  it('has them in the form that browsers read, and an end', async () => {
    const onEnd = vi.fn();
    const stream = eventStream({ events: numbers(3), comments: new CommentBox(), onEnd });
    expect(await new Response(stream).text()).toBe('data: 0\n\nevent: odd\ndata: 1\n\ndata: 2\n\n');
    expect(onEnd).toHaveBeenCalledTimes(1);
  });

  it('asks for no event before the last one was read', async () => {
    const events = counted(numbers(1000));
    const reader = eventStream({ events, comments: new CommentBox(), onEnd: vi.fn() }).getReader();
    expect(events.asked()).toBe(0);
    for (let count = 1; count <= 10; count += 1) {
      await read(reader);
      await new Promise((resolve) => setImmediate(resolve));
      expect(events.asked()).toBe(count);
    }
  });

  it('has comments at once, the latest only, and says so when there is nothing to say', async () => {
    const comments = new CommentBox();
    comments.put('queued position 3');
    comments.put('queued position 2');
    const reader = eventStream({ events: silent, comments, onEnd: vi.fn(), keepAliveMs: 5 }).getReader();
    expect(await read(reader)).toBe(': queued position 2\n\n');
    expect(await read(reader)).toBe(': keep-alive\n\n');
    const next = read(reader);
    comments.put('queued position 1');
    expect(await next).toBe(': queued position 1\n\n');
  });

  it('loses no event to a comment that came first', async () => {
    const comments = new CommentBox();
    comments.put('queued position 1');
    const reader = eventStream({ events: numbers(2), comments, onEnd: vi.fn() }).getReader();
    const all = [await read(reader), await read(reader), await read(reader)];
    expect(all.sort()).toEqual([': queued position 1\n\n', 'data: 0\n\n', 'event: odd\ndata: 1\n\n']);
  });

  it('ends once, also where its reader goes away', async () => {
    const onEnd = vi.fn();
    const stream = eventStream({ events: silent, comments: new CommentBox(), onEnd, keepAliveMs: 5 });
    const reader = stream.getReader();
    await read(reader);
    await reader.cancel();
    expect(onEnd).toHaveBeenCalledTimes(1);
  });
});

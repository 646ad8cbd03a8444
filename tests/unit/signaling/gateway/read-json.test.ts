import { describe, expect, it } from 'vitest';
import { MAX_BODY_DEPTH } from '../../../../signaling/gateway/limits.ts';
import { readJson } from '../../../../signaling/gateway/read-json.ts';

const JSON_TYPE = { 'content-type': 'application/json' };

function read(body: BodyInit, headers: Record<string, string> = JSON_TYPE, maxBytes = 100) {
  const request = new Request('http://localhost/', {
    method: 'POST',
    body,
    headers,
    duplex: 'half',
  } as RequestInit);
  return readJson(request, { maxBytes, takeBytes: () => undefined });
}

/** A body without an end, and how much of it was read. */
function endless(): {
  readonly body: ReadableStream<Uint8Array>;
  readonly readBytes: () => number;
  readonly isCancelled: () => boolean;
} {
  let sizeBytes = 0;
  let isCancelled = false;
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        sizeBytes += 64;
        controller.enqueue(new Uint8Array(64).fill(32));
      },
      cancel() {
        isCancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  return { body, readBytes: () => sizeBytes, isCancelled: () => isCancelled };
}

const refusedWith = (status: number) =>
  expect.objectContaining({ problem: expect.objectContaining({ status }) as unknown }) as Error;

describe('the body of a request', () => {
  it.each([
    ['application/json'],
    ['application/json; charset=utf-8'],
    ['APPLICATION/JSON'],
    ['application/x+json'],
  ])('is read as %s', async (type) => {
    expect(await read('{"a": "ü"}', { 'content-type': type })).toEqual({ a: 'ü' });
  });

  it.each([
    ['nothing', {}],
    ['text', { 'content-type': 'text/plain' }],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['what only begins so', { 'content-type': 'application/jsonp' }],
    ['compressed', { ...JSON_TYPE, 'content-encoding': 'gzip' }],
  ])('is refused as %s', async (_what, headers) => {
    await expect(read(new TextEncoder().encode('{}'), headers)).rejects.toEqual(refusedWith(415));
  });

  it.each([
    ['half a character', Uint8Array.of(0x22, 0xc3, 0x22)],
    ['a surrogate', Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22)],
    ['too long a form', Uint8Array.of(0x22, 0xc0, 0xaf, 0x22)],
  ])('is refused with %s in it', async (_what, bytes) => {
    await expect(read(bytes)).rejects.toEqual(refusedWith(400));
  });

  it.each([[''], ['{'], ['{"a": 1,}'], ["{'a': 1}"], ['NaN'], ['{} {}']])(
    'is refused as %j',
    async (text) => {
      await expect(read(text)).rejects.toEqual(refusedWith(400));
    },
  );

  it('is refused when it is nested too deep, before it is parsed', async () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    await expect(read(nested(MAX_BODY_DEPTH + 1), JSON_TYPE, 1e6)).rejects.toEqual(refusedWith(400));
    await expect(read(nested(MAX_BODY_DEPTH), JSON_TYPE, 1e6)).resolves.toBeInstanceOf(Array);
    await expect(read('['.repeat(900_000), JSON_TYPE, 1e6)).rejects.toEqual(refusedWith(400));
  });

  it('is as long as it may be, and no byte longer', async () => {
    await expect(read(`"${'x'.repeat(98)}"`)).resolves.toHaveLength(98);
    await expect(read(`"${'x'.repeat(99)}"`)).rejects.toEqual(refusedWith(413));
  });

  it('is not read where it announces too much', async () => {
    const { body, readBytes } = endless();
    await expect(read(body, { ...JSON_TYPE, 'content-length': '101' })).rejects.toEqual(refusedWith(413));
    expect(readBytes()).toBe(0);
  });

  it('is read no further than it may be long, whatever it announces', async () => {
    const { body, readBytes, isCancelled } = endless();
    await expect(read(body, { ...JSON_TYPE, 'content-length': '10' }, 1000)).rejects.toEqual(
      refusedWith(413),
    );
    expect(readBytes()).toBeLessThan(1200);
    expect(isCancelled()).toBe(true);
  });

  it('counts before it is kept', async () => {
    const { body, readBytes } = endless();
    const request = new Request('http://localhost/', {
      method: 'POST',
      body,
      headers: JSON_TYPE,
      duplex: 'half',
    } as RequestInit);
    const full = new Error('full');
    const takeBytes = (sizeBytes: number) => {
      if (readBytes() > 256) throw full;
      expect(sizeBytes).toBe(64);
    };
    await expect(readJson(request, { maxBytes: 1e6, takeBytes })).rejects.toBe(full);
  });

  it('that breaks off is no fault of the server', async () => {
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.error(new Error('aborted'));
      },
    });
    await expect(read(body)).rejects.toMatchObject({ code: 'aborted' });
  });
});

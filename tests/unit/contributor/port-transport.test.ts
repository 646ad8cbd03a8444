import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bridgeTransport } from '../../../src/contributor/port-bridge.ts';
import type { PortBridge } from '../../../src/contributor/port-bridge.ts';
import { PortTransport } from '../../../src/contributor/port-transport.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import type { FrameTransport } from '../../../src/protocol/transport.ts';
import { deferred, peerId } from './fakes.ts';
import type { Deferred } from './fakes.ts';

const SELF = peerId('a');
const OTHER = peerId('b');

type Bytes = Uint8Array<ArrayBuffer>;

class FakeTransport implements FrameTransport {
  readonly self = SELF;
  readonly sent: { to: PeerId; bytes: Bytes; done: Deferred<undefined> }[] = [];
  readonly frameListeners = new Set<(from: PeerId, frame: Bytes) => unknown>();
  readonly lostListeners = new Set<(peer: PeerId, reason: SkeinError) => void>();
  readonly rejected: { from: PeerId; reason: SkeinError }[] = [];
  #onSend: () => void = () => undefined;

  send(to: PeerId, bytes: Bytes): Promise<void> {
    const done = deferred<undefined>();
    this.sent.push({ to, bytes, done });
    this.#onSend();
    return done.promise;
  }

  /** Resolves when so many frames were sent. */
  sentCount(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#onSend = () => {
        if (this.sent.length >= count) resolve();
      };
      this.#onSend();
    });
  }

  onFrame(listener: (from: PeerId, frame: Bytes) => unknown): () => void {
    this.frameListeners.add(listener);
    return () => void this.frameListeners.delete(listener);
  }

  onPeerLost(listener: (peer: PeerId, reason: SkeinError) => void): () => void {
    this.lostListeners.add(listener);
    return () => void this.lostListeners.delete(listener);
  }

  reject(from: PeerId, reason: SkeinError): void {
    this.rejected.push({ from, reason });
  }
}

let page: FakeTransport;
let worker: PortTransport;
let bridge: PortBridge;

beforeEach(() => {
  const { port1, port2 } = new MessageChannel();
  page = new FakeTransport();
  bridge = bridgeTransport(page, port1);
  worker = new PortTransport(SELF, port2);
});

afterEach(() => {
  worker.dispose();
});

describe('a transport across a port', () => {
  it('brings frames out, in order, and leaves the sender its bytes', async () => {
    const bytes = Uint8Array.of(0, 1, 2, 3).subarray(1, 3);
    const sends = [worker.send(OTHER, bytes), worker.send(SELF, Uint8Array.of(9))];
    await page.sentCount(2);
    expect(page.sent.map(({ to, bytes: frame }) => [to, [...frame]])).toEqual([
      [OTHER, [1, 2]],
      [SELF, [9]],
    ]);
    expect([...bytes]).toEqual([1, 2]);
    for (const { done } of page.sent) done.resolve(undefined);
    await Promise.all(sends);
  });

  it('holds the engine back until the page has sent', async () => {
    const settled: string[] = [];
    const first = worker.send(OTHER, Uint8Array.of(1)).then(() => settled.push('first'));
    const second = worker.send(OTHER, Uint8Array.of(2)).then(() => settled.push('second'));
    await page.sentCount(2);
    page.sent[1]?.done.resolve(undefined);
    await second;
    expect(settled).toEqual(['second']);
    page.sent[0]?.done.resolve(undefined);
    await first;
    expect(settled).toEqual(['second', 'first']);
  });

  it('brings a failure back with its code and data', async () => {
    const sending = worker.send(OTHER, Uint8Array.of(1));
    await page.sentCount(1);
    page.sent[0]?.done.reject(new SkeinError('peer-lost', 'gone', { data: { peer: OTHER } }));
    await expect(sending).rejects.toMatchObject({
      code: 'peer-lost',
      message: 'gone',
      data: { peer: OTHER },
    });
  });

  it('brings frames in, and leaves the page its bytes', async () => {
    const frame = Uint8Array.of(7, 8, 9).subarray(0, 2);
    const received = new Promise((resolve) => worker.onFrame((from, bytes) => resolve([from, [...bytes]])));
    for (const listener of page.frameListeners) listener(OTHER, frame);
    expect(await received).toEqual([OTHER, [7, 8]]);
    expect([...frame]).toEqual([7, 8]);
  });

  it('counts a frame as waiting until the worker has taken it', async () => {
    let take: () => void = () => undefined;
    worker.onFrame(() => new Promise<void>((resolve) => (take = resolve)));
    const arrived = new Promise((resolve) => worker.onFrame(resolve));
    let isHandled = false;
    const [listener] = page.frameListeners;
    const handled = Promise.resolve(listener?.(OTHER, Uint8Array.of(1))).then(() => (isHandled = true));
    await arrived;
    const sent = worker.send(OTHER, Uint8Array.of(2));
    await page.sentCount(1);
    page.sent[0]?.done.resolve(undefined);
    await sent;
    expect(isHandled).toBe(false);
    take();
    await handled;
  });

  it('lets nothing wait any more for a worker that is gone', async () => {
    const [listener] = page.frameListeners;
    const handled = [1, 2].map((value) => listener?.(OTHER, Uint8Array.of(value)));
    bridge.detach();
    await Promise.all(handled);
  });

  it('brings complaints about frames out', async () => {
    worker.reject(OTHER, new SkeinError('bad-frame', 'wrong', { data: { peer: OTHER } }));
    void worker.send(OTHER, Uint8Array.of(1)).catch(() => undefined);
    await page.sentCount(1);
    expect(page.rejected).toMatchObject([
      { from: OTHER, reason: { code: 'bad-frame', message: 'wrong', data: { peer: OTHER } } },
    ]);
  });

  it('tells of lost peers', async () => {
    const lost = new Promise((resolve) => worker.onPeerLost((peer, { code }) => resolve([peer, code])));
    for (const listener of page.lostListeners) listener(OTHER, new SkeinError('timeout', 'silent'));
    expect(await lost).toEqual([OTHER, 'timeout']);
  });

  it('detached, hears the page no more, but lets the last words out', async () => {
    bridge.detach();
    expect(page.frameListeners.size).toBe(0);
    expect(page.lostListeners.size).toBe(0);
    void worker.send(OTHER, Uint8Array.of(4)).catch(() => undefined);
    worker.dispose();
    await bridge.ended;
    expect(page.sent.map(({ to, bytes }) => [to, [...bytes]])).toEqual([[OTHER, [4]]]);
  });

  it('lets go of the page when the worker is done', async () => {
    worker.dispose();
    await bridge.ended;
    expect(page.frameListeners.size).toBe(0);
    expect(page.lostListeners.size).toBe(0);
  });

  it('dispose rejects what is under way and what comes after', async () => {
    const sending = worker.send(OTHER, Uint8Array.of(1));
    worker.dispose();
    await expect(sending).rejects.toMatchObject({ code: 'aborted' });
    await expect(worker.send(OTHER, Uint8Array.of(1))).rejects.toMatchObject({ code: 'aborted' });
  });
});

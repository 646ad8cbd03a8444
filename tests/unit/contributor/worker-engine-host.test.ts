import { beforeEach, describe, expect, it, vi } from 'vitest';
import { NO_STATS } from '../../../src/contributor/contributor-state.ts';
import { PortTransport } from '../../../src/contributor/port-transport.ts';
import {
  ENGINE_PING_TIMEOUT_MS,
  GOODBYE_TIMEOUT_MS,
  WorkerEngineHost,
} from '../../../src/contributor/worker-engine-host.ts';
import type { EnginePort } from '../../../src/contributor/worker-engine-host.ts';
import type { WorkerCommand, WorkerEvent } from '../../../src/contributor/worker-messages.ts';
import { ManualClock } from '../mesh/manual-clock.ts';
import { CAPABILITY, deferred, FakeSession, peerId, settled, TINY } from './fakes.ts';

const SELF = peerId('a');

class FakeWorker implements EnginePort {
  readonly commands: WorkerCommand[] = [];
  onmessage: ((event: MessageEvent<WorkerEvent>) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;
  isTerminated = false;
  /** What `terminate` returns. */
  freeing: Promise<void> | undefined;

  postMessage(command: WorkerCommand): void {
    this.commands.push(command);
  }

  terminate(): Promise<void> | undefined {
    this.isTerminated = true;
    return this.freeing;
  }

  emit(event: WorkerEvent): void {
    this.onmessage?.(new MessageEvent('message', { data: event }));
  }
}

let worker: FakeWorker;
let clock: ManualClock;
let host: WorkerEngineHost;

beforeEach(() => {
  worker = new FakeWorker();
  clock = new ManualClock();
  host = new WorkerEngineHost('http://host:3000/contribute', worker, clock);
});

const measure = (signal = new AbortController().signal) => host.measure({ memoryLimitBytes: 64, signal });

function load(signal = new AbortController().signal, model = TINY, memoryBytes = 1e7) {
  const progress: [number, number][] = [];
  const stats: unknown[] = [];
  const loading = host.load({
    model,
    layerStart: 2,
    layerEnd: 5,
    memoryBytes,
    transport: new FakeSession('a').transport,
    signal,
    onProgress: (loadedBytes, totalBytes) => progress.push([loadedBytes, totalBytes]),
    onStats: (report) => stats.push(report),
  });
  return { loading, progress, stats };
}

describe('WorkerEngineHost', () => {
  it('sends nothing before it is asked: the GPU needs consent', () => {
    expect(worker.commands).toEqual([]);
  });

  it('names the cached slices of the models there are, whatever else is cached', () => {
    const slice = { modelUrl: 'http://host:3000/models/skein-tiny/', layerStart: 1, layerEnd: 4 };
    const elsewhere = { ...slice, modelUrl: 'http://other:3000/models/skein-tiny/' };
    expect(host.cachedSlices([TINY])).toEqual([]);
    worker.emit({ type: 'cached', slices: [elsewhere, slice] });
    expect(host.cachedSlices([TINY])).toEqual([{ model: TINY.id, layerStart: 1, layerEnd: 4 }]);
    expect(host.cachedSlices([])).toEqual([]);
  });

  it('asks for as much cache as the memory beside the weights has room for', () => {
    const { bytesPerLayer, cacheBytesPerTokenPerLayer } = TINY;
    void load(undefined, TINY, 3 * (bytesPerLayer + 5000 * cacheBytesPerTokenPerLayer)).loading.catch(
      () => undefined,
    );
    expect(worker.commands.at(-1)).toMatchObject({ type: 'load', request: { cacheTokens: 4992 } });
  });

  it('measures', async () => {
    const measuring = measure();
    expect(worker.commands).toEqual([
      { type: 'measure', operation: 0, memoryLimitBytes: 64, timesKernels: false },
    ]);
    worker.emit({ type: 'measured', operation: 0, capability: CAPABILITY });
    await expect(measuring).resolves.toEqual(CAPABILITY);
  });

  it('asks for timestamps only where it is asked for them', () => {
    const { signal } = new AbortController();
    void host.measure({ memoryLimitBytes: 64, timesKernels: true, signal }).catch(() => undefined);
    expect(worker.commands[0]).toMatchObject({ type: 'measure', timesKernels: true });
    void host.dispose();
  });

  it('loads from the server that served the page', async () => {
    const { loading, progress, stats } = load();
    expect(worker.commands[0]).toMatchObject({
      type: 'load',
      operation: 0,
      request: { modelUrl: 'http://host:3000/models/skein-tiny/', layerStart: 2, layerEnd: 5 },
    });
    worker.emit({ type: 'progress', operation: 0, loadedBytes: 1, totalBytes: 2 });
    worker.emit({ type: 'loaded', operation: 0 });
    await expect(loading).resolves.toBeUndefined();
    const report = { ...NO_STATS, activeSequences: 1, tokens: 2 };
    worker.emit({ type: 'stats', operation: 0, stats: report });
    expect(progress).toEqual([[1, 2]]);
    expect(stats).toEqual([report]);
    void host.dispose();
  });

  it('passes on in which formats the card wants the model', () => {
    load(undefined, { ...TINY, quantization: 'int4', cache: 'int8', activations: 'int8' }).loading.catch(
      () => undefined,
    );
    expect(worker.commands[0]).toMatchObject({
      request: { quantization: 'int4', cache: 'int8', activations: 'int8' },
    });
    void host.dispose();
  });

  it('gives errors back with their code', async () => {
    const { loading } = load();
    worker.emit({ type: 'failed', operation: 0, error: { code: 'out-of-memory', message: 'full' } });
    await expect(loading).rejects.toMatchObject({
      name: 'SkeinError',
      code: 'out-of-memory',
      message: 'full',
    });
    void host.dispose();
  });

  it('tells the worker to give up and does not wait for it', async () => {
    const abort = new AbortController();
    const { loading } = load(abort.signal);
    abort.abort();
    await expect(loading).rejects.toMatchObject({ code: 'aborted' });
    expect(worker.commands.at(-1)).toEqual({ type: 'cancel', operation: 0 });
    void host.dispose();
  });

  it('does not hear an older load', async () => {
    const older = load();
    const newer = load();
    await expect(older.loading).rejects.toMatchObject({ code: 'aborted' });
    worker.emit({ type: 'progress', operation: 0, loadedBytes: 9, totalBytes: 9 });
    worker.emit({ type: 'loaded', operation: 0 });
    expect(older.progress).toEqual([]);
    worker.emit({ type: 'loaded', operation: 1 });
    await expect(newer.loading).resolves.toBeUndefined();
    void host.dispose();
  });

  it('tells when the device is lost', async () => {
    worker.emit({ type: 'lost', error: { code: 'device-lost', message: 'reset' } });
    await expect(host.lost).resolves.toMatchObject({ code: 'device-lost', message: 'reset' });
  });

  it('takes a crashed worker for lost', async () => {
    worker.onerror?.({ message: 'boom' } as ErrorEvent);
    await expect(host.lost).resolves.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('boom') as string,
    });
  });

  it('dispose lets a stage tell its requesters before the worker ends', async () => {
    void load().loading.catch(() => undefined);
    void host.dispose();
    expect(worker.commands.at(-1)).toEqual({ type: 'unload' });
    expect(worker.isTerminated).toBe(false);
    const command = worker.commands[0];
    const frames = command?.type === 'load' ? command.frames : new MessageChannel().port1;
    new PortTransport(SELF, frames).dispose();
    await vi.waitUntil(() => worker.isTerminated);
    expect(clock.pendingTimers).toBe(0);
  });

  it('does not wait long for a worker that hangs', async () => {
    void load().loading.catch(() => undefined);
    const disposed = host.dispose();
    clock.advance(GOODBYE_TIMEOUT_MS - 1);
    await settled();
    expect(worker.isTerminated).toBe(false);
    clock.advance(1);
    await disposed;
    expect(worker.isTerminated).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is disposed when the device is free, however often that is asked', async () => {
    const freed = deferred<undefined>();
    worker.freeing = freed.promise;
    let times = 0;
    for (let call = 0; call < 2; call++) void host.dispose().then(() => (times += 1));
    await settled();
    expect(times).toBe(0);
    freed.resolve(undefined);
    await settled();
    expect(times).toBe(2);
  });

  it('is alive as long as its worker answers pings', async () => {
    const [first, second] = [host.isAlive(), host.isAlive()];
    expect(worker.commands).toEqual([
      { type: 'ping', nonce: 0 },
      { type: 'ping', nonce: 1 },
    ]);
    clock.advance(ENGINE_PING_TIMEOUT_MS - 1);
    worker.emit({ type: 'pong', nonce: 1 });
    await expect(second).resolves.toBe(true);
    clock.advance(1);
    await expect(first).resolves.toBe(false);
    worker.emit({ type: 'pong', nonce: 0 });
    expect(clock.pendingTimers).toBe(0);
  });

  it('answers for no other ping', async () => {
    const alive = host.isAlive();
    worker.emit({ type: 'pong', nonce: 3 });
    clock.advance(ENGINE_PING_TIMEOUT_MS);
    await expect(alive).resolves.toBe(false);
  });

  it('dispose ends the worker and everything under way, and can be called again', async () => {
    const measuring = measure();
    void host.dispose();
    void host.dispose();
    expect(worker.isTerminated).toBe(true);
    await expect(measuring).rejects.toMatchObject({ code: 'aborted' });
    await expect(measure()).rejects.toMatchObject({ code: 'aborted' });
    await settled();
    expect(worker.commands).toHaveLength(1);
  });
});

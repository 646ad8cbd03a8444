import { beforeEach, describe, expect, it, vi } from 'vitest';
import { NO_STATS } from '../../../src/contributor/contributor-state.ts';
import { PortTransport } from '../../../src/contributor/port-transport.ts';
import { GOODBYE_TIMEOUT_MS, WorkerEngineHost } from '../../../src/contributor/worker-engine-host.ts';
import type { EnginePort } from '../../../src/contributor/worker-engine-host.ts';
import type { WorkerCommand, WorkerEvent } from '../../../src/contributor/worker-messages.ts';
import { CAPABILITY, FakeSession, peerId, settled, TINY } from './fakes.ts';

const SELF = peerId('a');

class FakeWorker implements EnginePort {
  readonly commands: WorkerCommand[] = [];
  onmessage: ((event: MessageEvent<WorkerEvent>) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;
  isTerminated = false;

  postMessage(command: WorkerCommand): void {
    this.commands.push(command);
  }

  terminate(): void {
    this.isTerminated = true;
  }

  emit(event: WorkerEvent): void {
    this.onmessage?.(new MessageEvent('message', { data: event }));
  }
}

let worker: FakeWorker;
let host: WorkerEngineHost;

beforeEach(() => {
  worker = new FakeWorker();
  host = new WorkerEngineHost('http://host:3000/contribute', worker);
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
    host.dispose();
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
    host.dispose();
  });

  it('passes on in which formats the card wants the model', () => {
    load(undefined, { ...TINY, quantization: 'int4', cache: 'int8', activations: 'int8' }).loading.catch(
      () => undefined,
    );
    expect(worker.commands[0]).toMatchObject({
      request: { quantization: 'int4', cache: 'int8', activations: 'int8' },
    });
    host.dispose();
  });

  it('gives errors back with their code', async () => {
    const { loading } = load();
    worker.emit({ type: 'failed', operation: 0, error: { code: 'out-of-memory', message: 'full' } });
    await expect(loading).rejects.toMatchObject({
      name: 'SkeinError',
      code: 'out-of-memory',
      message: 'full',
    });
    host.dispose();
  });

  it('tells the worker to give up and does not wait for it', async () => {
    const abort = new AbortController();
    const { loading } = load(abort.signal);
    abort.abort();
    await expect(loading).rejects.toMatchObject({ code: 'aborted' });
    expect(worker.commands.at(-1)).toEqual({ type: 'cancel', operation: 0 });
    host.dispose();
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
    host.dispose();
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
    host.dispose();
    expect(worker.commands.at(-1)).toEqual({ type: 'unload' });
    expect(worker.isTerminated).toBe(false);
    const command = worker.commands[0];
    const frames = command?.type === 'load' ? command.frames : new MessageChannel().port1;
    new PortTransport(SELF, frames).dispose();
    await vi.waitUntil(() => worker.isTerminated);
  });

  it('does not wait long for a worker that hangs', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    try {
      void load().loading.catch(() => undefined);
      host.dispose();
      await vi.advanceTimersByTimeAsync(GOODBYE_TIMEOUT_MS - 1);
      expect(worker.isTerminated).toBe(false);
      await vi.advanceTimersByTimeAsync(1);
      expect(worker.isTerminated).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  it('dispose ends the worker and everything under way, and can be called again', async () => {
    const measuring = measure();
    host.dispose();
    host.dispose();
    expect(worker.isTerminated).toBe(true);
    await expect(measuring).rejects.toMatchObject({ code: 'aborted' });
    await expect(measure()).rejects.toMatchObject({ code: 'aborted' });
    await settled();
    expect(worker.commands).toHaveLength(1);
  });
});

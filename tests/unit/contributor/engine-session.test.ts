import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EngineSession, STATS_INTERVAL_MS } from '../../../src/contributor/engine-session.ts';
import type { RunningStage, StageLoadContext } from '../../../src/contributor/engine-session.ts';
import type { StageRequest, WorkerEvent } from '../../../src/contributor/worker-messages.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { Capability } from '../../../src/protocol/signaling.ts';
import { CAPABILITY, deferred, peerId, settled } from './fakes.ts';
import type { Deferred } from './fakes.ts';

const NO_TOTALS = {
  activeSequences: 0,
  steps: 0,
  freeCacheTokens: 0,
  cacheTokens: 0,
  rowsComputed: 0,
  busyMs: 0,
  activationRowsSent: 0,
  activationBytesSent: 0,
};

class FakeStage implements RunningStage {
  totals = { ...NO_TOTALS, activeSequences: 1, rowsComputed: 5 };
  isDisposed = false;

  dispose(): void {
    this.isDisposed = true;
  }
}

const REQUEST: StageRequest = {
  modelUrl: 'http://localhost/models/skein-tiny/',
  quantization: 'none',
  cache: 'f32',
  activations: 'f32',
  model: 'skein-tiny',
  layerStart: 0,
  layerEnd: 4,
  self: peerId('a'),
  cacheTokens: 64,
};

let events: WorkerEvent[];
let measurements: { signal: AbortSignal; timesKernels: boolean; done: Deferred<Capability> }[];
let starts: { request: StageRequest; context: StageLoadContext; done: Deferred<FakeStage> }[];
let channels: MessageChannel[];
let session: EngineSession;

beforeEach(() => {
  events = [];
  measurements = [];
  starts = [];
  channels = [];
  session = new EngineSession(
    {
      measure: ({ signal, timesKernels }) => {
        const done = deferred<Capability>();
        measurements.push({ signal, timesKernels, done });
        return done.promise;
      },
      startStage: (request, context) => {
        const done = deferred<FakeStage>();
        starts.push({ request, context, done });
        return done.promise;
      },
    },
    (event) => events.push(event),
  );
});

afterEach(() => {
  session.handle({ type: 'unload' });
  for (const { port1 } of channels) port1.close();
});

function load(operation: number, layerStart = 0): void {
  const channel = new MessageChannel();
  channels.push(channel);
  session.handle({ type: 'load', operation, request: { ...REQUEST, layerStart }, frames: channel.port2 });
}

async function startStage(index: number): Promise<FakeStage> {
  await settled();
  const stage = new FakeStage();
  starts[index]?.done.resolve(stage);
  await settled();
  return stage;
}

const aborted = (operation: number) => expect.objectContaining({ type: 'failed', operation }) as WorkerEvent;

describe('EngineSession', () => {
  it('measures', async () => {
    session.handle({ type: 'measure', operation: 0, memoryLimitBytes: 10 });
    await settled();
    measurements[0]?.done.resolve(CAPABILITY);
    await settled();
    expect(events).toEqual([{ type: 'measured', operation: 0, capability: CAPABILITY }]);
  });

  it('times kernels only when told to', async () => {
    session.handle({ type: 'measure', operation: 0, memoryLimitBytes: 10 });
    await settled();
    measurements[0]?.done.resolve(CAPABILITY);
    session.handle({ type: 'measure', operation: 1, memoryLimitBytes: 10, timesKernels: true });
    await settled();
    expect(measurements.map(({ timesKernels }) => timesKernels)).toEqual([false, true]);
  });

  it('says why something failed, with its code', async () => {
    session.handle({ type: 'measure', operation: 0, memoryLimitBytes: 10 });
    await settled();
    measurements[0]?.done.reject(new SkeinError('no-adapter', 'none', { data: { tried: 2 } }));
    await settled();
    expect(events).toEqual([
      { type: 'failed', operation: 0, error: { code: 'no-adapter', message: 'none', data: { tried: 2 } } },
    ]);
  });

  it('loads with progress', async () => {
    load(1);
    await settled();
    expect(starts[0]?.request).toEqual(REQUEST);
    expect(starts[0]?.context.transport.self).toBe(REQUEST.self);
    starts[0]?.context.onProgress(3, 9);
    await startStage(0);
    expect(events).toEqual([
      { type: 'progress', operation: 1, loadedBytes: 3, totalBytes: 9 },
      { type: 'loaded', operation: 1 },
    ]);
  });

  it('frees a stage before it loads the next', async () => {
    load(1);
    const stage = await startStage(0);
    load(2, 2);
    expect(stage.isDisposed).toBe(true);
    await startStage(1);
    expect(events.at(-1)).toEqual({ type: 'loaded', operation: 2 });
  });

  it('waits for a cancelled load to end, frees what it made, and only then loads the next', async () => {
    load(1);
    await settled();
    load(2, 2);
    await settled();
    expect(starts[0]?.context.signal.aborted).toBe(true);
    expect(starts).toHaveLength(1);
    const late = await startStage(0);
    expect(late.isDisposed).toBe(true);
    expect(starts).toHaveLength(2);
    await startStage(1);
    expect(events).toEqual([aborted(1), { type: 'loaded', operation: 2 }]);
  });

  it('skips a load that was replaced before it began', async () => {
    load(1);
    load(2, 1);
    load(3, 2);
    await startStage(0);
    expect(starts.map(({ request }) => request.layerStart)).toEqual([2]);
    expect(events).toEqual([aborted(1), aborted(2), { type: 'loaded', operation: 3 }]);
  });

  it('unloads', async () => {
    load(1);
    const stage = await startStage(0);
    session.handle({ type: 'unload' });
    expect(stage.isDisposed).toBe(true);
  });

  it('cancels the operation that is named and no other', async () => {
    load(1);
    await settled();
    session.handle({ type: 'cancel', operation: 0 });
    expect(starts[0]?.context.signal.aborted).toBe(false);
    session.handle({ type: 'cancel', operation: 1 });
    expect(starts[0]?.context.signal.aborted).toBe(true);
  });

  it('cancel frees a stage that was ready just before', async () => {
    load(1);
    const stage = await startStage(0);
    session.handle({ type: 'cancel', operation: 1 });
    expect(stage.isDisposed).toBe(true);
  });

  it('answers a ping at once, also while it measures or loads', async () => {
    load(1);
    await settled();
    session.handle({ type: 'ping', nonce: 5 });
    expect(events).toEqual([{ type: 'pong', nonce: 5 }]);
    await startStage(0);
    session.handle({ type: 'ping', nonce: 6 });
    expect(events.at(-1)).toEqual({ type: 'pong', nonce: 6 });
  });

  it('reports statistics while a stage serves, and stops with it', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      load(1);
      await startStage(0);
      vi.advanceTimersByTime(2 * STATS_INTERVAL_MS);
      const reports = () => events.filter(({ type }) => type === 'stats');
      expect(reports()).toHaveLength(2);
      expect(reports()[0]).toMatchObject({ operation: 1, stats: { activeSequences: 1, tokens: 5 } });
      session.handle({ type: 'unload' });
      vi.advanceTimersByTime(5 * STATS_INTERVAL_MS);
      expect(reports()).toHaveLength(2);
    } finally {
      vi.useRealTimers();
    }
  });
});

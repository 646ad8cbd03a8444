import { beforeEach, describe, expect, it } from 'vitest';
import { Contributor } from '../../../src/contributor/contributor.ts';
import type { StageStats } from '../../../src/contributor/contributor-state.ts';
import { NO_STATS } from '../../../src/contributor/contributor-state.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { DRAIN_TIMEOUT_MS } from '../../../src/protocol/limits.ts';
import { REPORT_INTERVAL_MS } from '../../../src/contributor/mesh-reporter.ts';
import { ManualClock } from '../mesh/manual-clock.ts';
import { CAPABILITY, FakeHost, FakeSession, settled, TINY } from './fakes.ts';

const GIB = 1024 ** 3;

let hosts: FakeHost[];
let contributor: Contributor;
let session: FakeSession;
let clock: ManualClock;

beforeEach(() => {
  hosts = [];
  clock = new ManualClock();
  contributor = new Contributor({
    clock,
    createHost: () => {
      const host = new FakeHost();
      hosts.push(host);
      return host;
    },
  });
  session = new FakeSession('a');
  contributor.setSession(session);
});

function host(index = 0): FakeHost {
  const found = hosts[index];
  if (found === undefined) throw new Error(`no host ${index}`);
  return found;
}

async function startAndMeasure(index = 0): Promise<void> {
  contributor.start({ memoryLimitBytes: 2 * GIB });
  host(index).measuring.resolve(CAPABILITY);
  await settled();
}

async function serve(layerStart = 0, layerEnd = 4): Promise<void> {
  await startAndMeasure();
  session.deliver({ type: 'assign', model: TINY.id, layerStart, layerEnd });
  host().lastLoad.done.resolve(undefined);
  await settled();
}

const stats = (activeSequences: number): StageStats => ({ ...NO_STATS, activeSequences });

describe('starting', () => {
  it('touches no GPU before start', () => {
    expect(contributor.state).toEqual({ phase: 'idle' });
    expect(hosts).toHaveLength(0);
    expect(session.sent).toEqual([]);
  });

  it('measures under the limit the person set, then joins', async () => {
    contributor.start({ memoryLimitBytes: 2 * GIB });
    expect(contributor.state).toEqual({ phase: 'measuring' });
    expect(host().memoryLimitBytes).toBe(2 * GIB);
    expect(session.sent).toEqual([]);
    host().measuring.resolve(CAPABILITY);
    await settled();
    expect(contributor.state).toEqual({ phase: 'waiting', capability: CAPABILITY, waitingFor: 'work' });
    expect(session.sent).toEqual([{ type: 'join', capability: CAPABILITY, cached: [] }]);
  });

  it('asks for the layers that the person wants, each time that it joins', async () => {
    const layers = { layerStart: 2, layerEnd: 5 };
    contributor.start({ memoryLimitBytes: 2 * GIB, layers });
    host().measuring.resolve(CAPABILITY);
    await settled();
    expect(session.sent).toEqual([{ type: 'join', capability: CAPABILITY, cached: [], wish: layers }]);
    const next = new FakeSession('b');
    contributor.setSession(next);
    expect(next.sent).toMatchObject([{ type: 'join', wish: layers }]);
  });

  it('says whose weights it still has', async () => {
    contributor.start({ memoryLimitBytes: GIB });
    const cached = { model: TINY.id, layerStart: 3, layerEnd: 6 };
    host().cached = Array.from({ length: 20 }, () => cached);
    host().measuring.resolve(CAPABILITY);
    await settled();
    expect(session.sent).toEqual([
      { type: 'join', capability: CAPABILITY, cached: host().cached.slice(0, 16) },
    ]);
  });

  it('asks for kernel times where the person wants them', () => {
    contributor.start({ memoryLimitBytes: GIB, timesKernels: true });
    expect(host().timesKernels).toBe(true);
  });

  it('starts once, however often it is asked', () => {
    contributor.start({ memoryLimitBytes: GIB });
    contributor.start({ memoryLimitBytes: GIB });
    expect(hosts).toHaveLength(1);
  });

  it('fails with the reason when there is no GPU, frees the host, and starts anew', async () => {
    contributor.start({ memoryLimitBytes: GIB });
    const error = new SkeinError('no-adapter', 'none');
    host().measuring.reject(error);
    await settled();
    expect(contributor.state).toEqual({ phase: 'failed', error });
    expect(host().isDisposed).toBe(true);
    expect(session.sent).toEqual([]);
    await startAndMeasure(1);
    expect(contributor.state.phase).toBe('waiting');
  });

  it('shows the refusal when the server does not take it, and nothing of links', async () => {
    await startAndMeasure();
    session.deliver({ type: 'error', error: { code: 'peer-lost', message: 'gone' } });
    expect(contributor.state.phase).toBe('waiting');
    session.deliver({ type: 'error', error: { code: 'bad-message', message: 'field memoryBytes' } });
    expect(contributor.state).toMatchObject({ phase: 'failed', error: { code: 'bad-message' } });
    expect(host().isDisposed).toBe(true);
  });

  it('drops a measurement that ends after stop', async () => {
    contributor.start({ memoryLimitBytes: GIB });
    contributor.stop();
    host().measuring.resolve(CAPABILITY);
    await settled();
    expect(contributor.state).toEqual({ phase: 'idle' });
    expect(session.sent).toEqual([]);
  });
});

describe('loading and serving', () => {
  it('loads what is assigned with progress, and serves', async () => {
    await startAndMeasure();
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 2, layerEnd: 5 });
    const slice = { model: TINY.id, layerStart: 2, layerEnd: 5, layerCount: 8, quantization: 'none' };
    const base = { capability: CAPABILITY, slice };
    expect(contributor.state).toEqual({ phase: 'loading', ...base, loadedBytes: 0, totalBytes: 0 });
    expect(host().lastLoad.options).toMatchObject({ model: TINY, layerStart: 2, layerEnd: 5 });
    expect(host().lastLoad.options.transport).toBe(session.transport);
    host().lastLoad.options.onProgress(10, 40);
    expect(contributor.state).toEqual({ phase: 'loading', ...base, loadedBytes: 10, totalBytes: 40 });
    host().lastLoad.done.resolve(undefined);
    await settled();
    expect(contributor.state).toEqual({ phase: 'serving', ...base, stats: NO_STATS });
    expect(session.sent.at(-1)).toEqual({ type: 'serving', model: TINY.id, layerStart: 2, layerEnd: 5 });
    host().lastLoad.options.onStats(stats(3));
    host().lastLoad.options.onProgress(40, 40);
    expect(contributor.state).toMatchObject({ phase: 'serving', stats: { activeSequences: 3 } });
  });

  it('keeps only the newest assignment: an older load that ends late says nothing', async () => {
    await startAndMeasure();
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 0, layerEnd: 4 });
    const older = host().lastLoad;
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 4, layerEnd: 8 });
    const newer = host().lastLoad;
    expect(older.options.signal.aborted).toBe(true);
    older.options.onProgress(99, 100);
    expect(contributor.state).toMatchObject({ phase: 'loading', loadedBytes: 0 });
    older.done.resolve(undefined);
    await settled();
    expect(contributor.state).toMatchObject({ phase: 'loading', slice: { layerStart: 4 } });
    expect(session.sent.map(({ type }) => type)).toEqual(['join']);
    newer.done.resolve(undefined);
    await settled();
    expect(session.sent.at(-1)).toEqual({ type: 'serving', model: TINY.id, layerStart: 4, layerEnd: 8 });
    older.options.onStats(stats(7));
    expect(contributor.state).toMatchObject({ stats: { activeSequences: 0 } });
  });

  it('an older load that fails late does not end the newer one', async () => {
    await startAndMeasure();
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 0, layerEnd: 4 });
    const older = host().lastLoad;
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 4, layerEnd: 8 });
    older.done.reject(new SkeinError('aborted', 'superseded'));
    await settled();
    expect(contributor.state.phase).toBe('loading');
    expect(session.sent.map(({ type }) => type)).toEqual(['join']);
  });

  it('reloads when assigned anew while serving', async () => {
    await serve();
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 0, layerEnd: 8 });
    expect(host().unloads).toBe(1);
    host().lastLoad.done.resolve(undefined);
    await settled();
    expect(contributor.state).toMatchObject({ phase: 'serving', slice: { layerStart: 0, layerEnd: 8 } });
  });

  it('does not load again what it holds, but says so again', async () => {
    await serve();
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 0, layerEnd: 4 });
    expect(host().loads).toHaveLength(1);
    expect(session.sent.filter(({ type }) => type === 'serving')).toHaveLength(2);
  });

  it('says which of two assignments of the same slice it has carried out', async () => {
    await startAndMeasure();
    const slice = { model: TINY.id, layerStart: 0, layerEnd: 4 };
    session.deliver({ type: 'assign', ...slice, turn: 1 });
    session.deliver({ type: 'assign', ...slice, turn: 2 });
    host().lastLoad.done.resolve(undefined);
    await settled();
    expect(session.sent.at(-1)).toEqual({ type: 'serving', ...slice, turn: 2 });
    session.deliver({ type: 'assign', ...slice, turn: 3 });
    expect(session.sent.at(-1)).toEqual({ type: 'serving', ...slice, turn: 3 });
  });

  it('frees the slice when unassigned and waits', async () => {
    await serve();
    session.deliver({ type: 'unassign' });
    expect(host().unloads).toBe(1);
    expect(host().isDisposed).toBe(false);
    expect(contributor.state).toMatchObject({ phase: 'waiting', waitingFor: 'work' });
  });

  it('frees everything and tells the person when the server gives its loading up', async () => {
    await startAndMeasure();
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 0, layerEnd: 4 });
    session.deliver({ type: 'unassign' });
    session.deliver({ type: 'error', error: { code: 'timeout', message: 'not within 5 minutes' } });
    expect(contributor.state).toMatchObject({ phase: 'failed', error: { code: 'timeout' } });
    expect(host().isDisposed).toBe(true);
  });

  it('tells the server and the person when a load fails', async () => {
    await startAndMeasure();
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 0, layerEnd: 4 });
    const error = new SkeinError('model-corrupt', 'model.safetensors is cut off');
    host().lastLoad.done.reject(error);
    await settled();
    expect(contributor.state).toEqual({ phase: 'failed', error });
    expect(session.sent.slice(1)).toEqual([
      { type: 'load-failed', error: error.toShape() },
      { type: 'leave' },
    ]);
    expect(host().isDisposed).toBe(true);
  });

  it('refuses a model the server never offered', async () => {
    await startAndMeasure();
    session.deliver({ type: 'assign', model: 'other' as typeof TINY.id, layerStart: 0, layerEnd: 4 });
    expect(session.sent.at(-1)).toMatchObject({ type: 'load-failed', error: { code: 'model-missing' } });
    expect(host().loads).toHaveLength(0);
    expect(contributor.state.phase).toBe('waiting');
  });

  it('ignores an assignment before it joined', () => {
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 0, layerEnd: 4 });
    expect(contributor.state.phase).toBe('idle');
  });
});

describe('stopping', () => {
  it('leaves at once, finishes what is under way, then frees the GPU', async () => {
    await serve();
    host().lastLoad.options.onStats(stats(2));
    contributor.stop();
    expect(session.sent.at(-1)).toEqual({ type: 'leave' });
    expect(contributor.state).toEqual({ phase: 'stopping', activeSequences: 2 });
    host().lastLoad.options.onStats(stats(1));
    expect(contributor.state).toEqual({ phase: 'stopping', activeSequences: 1 });
    expect(host().isDisposed).toBe(false);
    host().lastLoad.options.onStats(stats(0));
    expect(contributor.state).toEqual({ phase: 'idle' });
    expect(host().isDisposed).toBe(true);
    expect(session.sent.filter(({ type }) => type === 'leave')).toHaveLength(1);
  });

  it('does not trust an old report of no requests', async () => {
    await serve();
    contributor.stop();
    expect(host().isDisposed).toBe(false);
    host().lastLoad.options.onStats(stats(1));
    expect(contributor.state).toEqual({ phase: 'stopping', activeSequences: 1 });
  });

  it('waits no longer than the drain time', async () => {
    await serve();
    host().lastLoad.options.onStats(stats(2));
    contributor.stop();
    clock.advance(DRAIN_TIMEOUT_MS - 1);
    expect(contributor.state.phase).toBe('stopping');
    clock.advance(1);
    expect(contributor.state).toEqual({ phase: 'idle' });
    expect(host().isDisposed).toBe(true);
  });

  it('frees the GPU at once when asked twice', async () => {
    await serve();
    host().lastLoad.options.onStats(stats(2));
    contributor.stop();
    contributor.stop();
    expect(contributor.state).toEqual({ phase: 'idle' });
    expect(host().isDisposed).toBe(true);
  });

  it('takes no work while stopping', async () => {
    await serve();
    contributor.stop();
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 4, layerEnd: 8 });
    session.deliver({ type: 'unassign' });
    expect(host().loads).toHaveLength(1);
    expect(contributor.state.phase).toBe('stopping');
  });

  it('stops a load under way', async () => {
    await startAndMeasure();
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 0, layerEnd: 4 });
    contributor.stop();
    expect(host().lastLoad.options.signal.aborted).toBe(true);
    expect(host().isDisposed).toBe(true);
    expect(contributor.state).toEqual({ phase: 'idle' });
    expect(session.sent.at(-1)).toEqual({ type: 'leave' });
  });

  it('a deadline of an earlier stop does not end a later run', async () => {
    await serve();
    host().lastLoad.options.onStats(stats(2));
    contributor.stop();
    contributor.stop();
    await startAndMeasure(1);
    clock.advance(2 * DRAIN_TIMEOUT_MS);
    expect(contributor.state.phase).toBe('waiting');
  });
});

describe('losing the server', () => {
  it('goes on serving while it is away, and joins the new session', async () => {
    await serve();
    contributor.setSession(null);
    expect(contributor.state.phase).toBe('serving');
    expect(host().unloads).toBe(0);
    const next = new FakeSession('b');
    contributor.setSession(next);
    expect(next.sent).toEqual([{ type: 'join', capability: CAPABILITY, cached: [] }]);
    expect(host().unloads).toBe(1);
    next.deliver({ type: 'assign', model: TINY.id, layerStart: 0, layerEnd: 4 });
    expect(host().lastLoad.options.transport).toBe(next.transport);
    expect(host().loads).toHaveLength(2);
  });

  it('says that it waits for the server', async () => {
    contributor.setSession(null);
    await startAndMeasure();
    expect(contributor.state).toMatchObject({ phase: 'waiting', waitingFor: 'server' });
    contributor.setSession(session);
    expect(contributor.state).toMatchObject({ phase: 'waiting', waitingFor: 'work' });
    expect(session.sent).toEqual([{ type: 'join', capability: CAPABILITY, cached: [] }]);
  });

  it('listens to one session only', async () => {
    await startAndMeasure();
    contributor.setSession(new FakeSession('b'));
    session.deliver({ type: 'assign', model: TINY.id, layerStart: 0, layerEnd: 4 });
    expect(host().loads).toHaveLength(0);
  });

  it('does not join when nobody pressed Start', () => {
    const next = new FakeSession('b');
    contributor.setSession(next);
    expect(next.sent).toEqual([]);
  });
});

describe('reporting', () => {
  it('tells the server of its work and its links while it serves, and nothing after stop', async () => {
    await serve(2, 5);
    host().lastLoad.options.onStats({ ...NO_STATS, atMs: 1000 });
    host().lastLoad.options.onStats({ ...NO_STATS, atMs: 3000, steps: 4, tokens: 9, busyMs: 500 });
    clock.advance(REPORT_INTERVAL_MS);
    const slice = { model: TINY.id, layerStart: 2, layerEnd: 5 };
    expect(session.sent.at(-1)).toMatchObject({
      type: 'report',
      stage: { ...slice, steps: 4, rows: 9, busySeconds: 0.5, seconds: 2 },
    });
    session.deliver({ type: 'probe', peers: [session.self] });
    expect(session.probes).toHaveLength(1);
    contributor.stop();
    contributor.stop();
    const { length } = session.sent;
    session.deliver({ type: 'probe', peers: [session.self] });
    clock.advance(10 * REPORT_INTERVAL_MS);
    expect(session.sent).toHaveLength(length);
    expect(session.probes).toHaveLength(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it('goes over to the next session', async () => {
    await serve();
    const next = new FakeSession('b');
    contributor.setSession(next);
    session.links = next.links = [{ peer: next.self, rttSeconds: 1, bytesPerSecond: null }];
    const { length } = session.sent;
    clock.advance(REPORT_INTERVAL_MS);
    expect(session.sent).toHaveLength(length);
    expect(next.sent.map(({ type }) => type)).toEqual(['join', 'report']);
  });
});

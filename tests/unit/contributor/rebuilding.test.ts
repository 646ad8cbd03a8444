import { beforeEach, describe, expect, it } from 'vitest';
import {
  MAX_REBUILDS,
  REBUILD_PAUSES_MS,
  REBUILD_WINDOW_MS,
} from '../../../src/contributor/engine-keeper.ts';
import { NO_STATS } from '../../../src/contributor/contributor-state.ts';
import { REPORT_INTERVAL_MS } from '../../../src/contributor/mesh-reporter.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { ContributorRig, stats } from './contributor-rig.ts';
import { CAPABILITY, deferred, FakeSession, settled, TINY } from './fakes.ts';

const LOST = new SkeinError('device-lost', 'driver reset', { data: { reason: 'unknown' } });
const SLICE = { model: TINY.id, layerStart: 0, layerEnd: 4 };
const LAYERS = { ...SLICE, layerCount: 8, quantization: 'none' };

let rig: ContributorRig;
beforeEach(() => {
  rig = new ContributorRig();
});

async function lose(index?: number): Promise<void> {
  rig.host(index).loss.resolve(LOST);
  await settled();
}

describe('a device that is lost while it serves', () => {
  it('is told to the server, and the same slice is loaded on another one', async () => {
    await rig.serving();
    await lose();
    expect(rig.host(0).isDisposed).toBe(true);
    expect(rig.host(0).lastLoad.options.signal.aborted).toBe(true);
    expect(rig.hosts).toHaveLength(2);
    const common = { phase: 'rebuilding', capability: CAPABILITY, slice: LAYERS, error: LOST };
    expect(rig.state).toEqual({ ...common, loadedBytes: 0, totalBytes: 0 });
    expect(rig.session.sent.at(-1)).toEqual({ type: 'reloading', ...SLICE, error: LOST.toShape() });
    expect(rig.host().lastLoad.options).toMatchObject({ ...SLICE, model: TINY, memoryBytes: 2e9 });
    expect(rig.host().lastLoad.options.transport).toBe(rig.session.transport);
    rig.host().lastLoad.options.onProgress(3, 9);
    expect(rig.state).toEqual({ ...common, loadedBytes: 3, totalBytes: 9 });

    await rig.loaded();
    expect(rig.state).toMatchObject({ phase: 'serving', slice: LAYERS, stats: NO_STATS });
    expect(rig.session.sent.at(-1)).toEqual({ type: 'serving', ...SLICE });
    expect(rig.sentTypes).not.toContain('leave');
  });

  it('is freed before another one is opened', async () => {
    await rig.serving();
    const freed = deferred<undefined>();
    rig.host().freeing = freed.promise;
    await lose();
    expect(rig.hosts).toHaveLength(1);
    expect(rig.state.phase).toBe('rebuilding');
    freed.resolve(undefined);
    await settled();
    expect(rig.hosts).toHaveLength(2);
  });

  it('says nothing any more', async () => {
    await rig.serving();
    const { onStats, onProgress } = rig.host().lastLoad.options;
    await lose();
    onStats(stats(5));
    onProgress(1, 2);
    expect(rig.state).toMatchObject({ phase: 'rebuilding', totalBytes: 0 });
    await rig.loaded();
    onStats(stats(5));
    expect(rig.state).toMatchObject({ phase: 'serving', stats: { activeSequences: 0 } });
  });

  it('does not count into what the next one reports', async () => {
    await rig.serving();
    rig.host().lastLoad.options.onStats({ ...NO_STATS, atMs: 1000 });
    await lose();
    await rig.loaded();
    rig.host().lastLoad.options.onStats({ ...NO_STATS, atMs: 2000, steps: 7 });
    rig.clock.advance(REPORT_INTERVAL_MS);
    expect(rig.sentTypes).not.toContain('report');
  });

  it('is not replaced for a person who stops', async () => {
    await rig.serving();
    await lose();
    rig.contributor.stop();
    expect(rig.state).toEqual({ phase: 'idle' });
    expect(rig.host().isDisposed).toBe(true);
    expect(rig.session.sent.at(-1)).toEqual({ type: 'leave' });
    await rig.loaded();
    expect(rig.state).toEqual({ phase: 'idle' });
  });

  it('is not replaced once it is freed after a stop', async () => {
    await rig.serving();
    const freed = deferred<undefined>();
    rig.host().freeing = freed.promise;
    await lose();
    rig.contributor.stop();
    freed.resolve(undefined);
    await settled();
    expect(rig.hosts).toHaveLength(1);
    expect(rig.clock.pendingTimers).toBe(0);
  });

  it('is not waited for after a stop', async () => {
    await rig.serving();
    await lose();
    await lose();
    rig.contributor.stop();
    await settled();
    expect(rig.clock.pendingTimers).toBe(0);
    rig.clock.advance(REBUILD_PAUSES_MS[1]);
    await settled();
    expect(rig.hosts).toHaveLength(2);
  });

  it('is not loaded with what is not wanted any more', async () => {
    await rig.serving();
    const freed = deferred<undefined>();
    rig.host().freeing = freed.promise;
    await lose();
    rig.assign(4, 8);
    expect(rig.state).toMatchObject({ phase: 'loading', slice: { layerStart: 4 } });
    freed.resolve(undefined);
    await settled();
    expect(rig.host().loads.map(({ options }) => options.layerStart)).toEqual([4]);
    await rig.loaded();
    expect(rig.session.sent.at(-1)).toMatchObject({ type: 'serving', layerStart: 4 });
  });

  it('goes on being replaced when the server says again what it is to hold', async () => {
    await rig.serving();
    await lose();
    rig.assign();
    expect(rig.state.phase).toBe('rebuilding');
    expect(rig.host().loads).toHaveLength(1);
    expect(rig.session.sent.at(-1)).toMatchObject({ type: 'reloading' });
  });

  it('leaves a peer that waits when the server takes the slice back', async () => {
    await rig.serving();
    await lose();
    rig.session.deliver({ type: 'unassign' });
    expect(rig.state.phase).toBe('waiting');
    expect(rig.host().lastLoad.options.signal.aborted).toBe(true);
    await rig.loaded();
    expect(rig.state.phase).toBe('waiting');
  });
});

describe('a device that is lost at another time', () => {
  it('while loading: the load begins again elsewhere, whichever news comes first', async () => {
    await rig.loading();
    rig.host().lastLoad.done.reject(LOST);
    await settled();
    await lose(0);
    expect(rig.hosts).toHaveLength(2);
    expect(rig.state).toMatchObject({ phase: 'rebuilding', slice: LAYERS });
    expect(rig.sentTypes).toEqual(['join', 'reloading']);
    await rig.loaded();
    expect(rig.phases).toEqual(['measuring', 'waiting', 'loading', 'rebuilding', 'serving']);
  });

  it('while rebuilding: it counts as another loss', async () => {
    await rig.serving();
    await lose();
    await lose();
    rig.clock.advance(REBUILD_PAUSES_MS[1]);
    await settled();
    expect(rig.hosts).toHaveLength(3);
    await rig.loaded();
    expect(rig.state.phase).toBe('serving');
  });

  it('while measuring: the person hears why', async () => {
    rig.contributor.start({ memoryLimitBytes: 1e9 });
    await lose();
    expect(rig.state).toEqual({ phase: 'failed', error: LOST });
    expect(rig.hosts).toHaveLength(1);
    expect(rig.session.sent).toEqual([]);
  });

  it('while waiting: another one is there for the next assignment', async () => {
    await rig.measured();
    await lose();
    expect(rig.state.phase).toBe('waiting');
    expect(rig.sentTypes).toEqual(['join']);
    rig.assign();
    await rig.loaded();
    expect(rig.hosts).toHaveLength(2);
    expect(rig.state.phase).toBe('serving');
  });

  it('while stopping: nothing is left to finish', async () => {
    await rig.serving();
    rig.host().lastLoad.options.onStats(stats(2));
    rig.contributor.stop();
    await lose();
    expect(rig.state).toEqual({ phase: 'idle' });
    expect(rig.host().isDisposed).toBe(true);
    expect(rig.hosts).toHaveLength(1);
    expect(rig.sentTypes.filter((type) => type === 'leave')).toHaveLength(1);
    expect(rig.clock.pendingTimers).toBe(0);
  });
});

describe('a device that is lost again and again', () => {
  async function loseAndRebuild(index: number): Promise<void> {
    await lose();
    rig.clock.advance(REBUILD_PAUSES_MS[index] ?? 0);
    await settled();
    await rig.loaded();
  }

  it(`is replaced ${MAX_REBUILDS} times, after longer and longer pauses, and then the person hears of it`, async () => {
    await rig.serving();
    for (const [index, pauseMs] of REBUILD_PAUSES_MS.entries()) {
      await lose();
      if (pauseMs > 0) {
        rig.clock.advance(pauseMs - 1);
        await settled();
        expect(rig.hosts).toHaveLength(index + 1);
        rig.clock.advance(1);
        await settled();
      }
      expect(rig.hosts).toHaveLength(index + 2);
      await rig.loaded();
      expect(rig.state.phase).toBe('serving');
    }
    await lose();
    expect(rig.state).toMatchObject({ phase: 'failed', error: { code: 'device-lost', data: LOST.data } });
    expect(rig.hosts).toHaveLength(MAX_REBUILDS + 1);
    expect(rig.host().isDisposed).toBe(true);
    expect(rig.session.sent.at(-1)).toEqual({ type: 'leave' });
    expect(rig.clock.pendingTimers).toBe(0);
  });

  it('is replaced as often again when that was long ago', async () => {
    await rig.serving();
    for (let index = 0; index < MAX_REBUILDS; index++) await loseAndRebuild(index);
    // Each engine is asked whether it is alive while it says nothing.
    rig.onHost = () => undefined;
    for (const host of rig.hosts) host.isAlive = () => Promise.resolve(true);
    rig.clock.advance(REBUILD_WINDOW_MS);
    await loseAndRebuild(0);
    expect(rig.state.phase).toBe('serving');
  });

  it('counts anew from every start', async () => {
    await rig.serving();
    for (let index = 0; index < MAX_REBUILDS; index++) await loseAndRebuild(index);
    await lose();
    await rig.serving();
    await loseAndRebuild(0);
    expect(rig.state.phase).toBe('serving');
  });

  it('is tried again when there is no adapter just after the loss', async () => {
    await rig.serving();
    await lose();
    rig.host().lastLoad.done.reject(new SkeinError('no-adapter', 'none yet'));
    await settled();
    expect(rig.state).toMatchObject({ phase: 'rebuilding', error: { code: 'no-adapter' } });
    rig.clock.advance(REBUILD_PAUSES_MS[1]);
    await settled();
    await rig.loaded();
    expect(rig.state.phase).toBe('serving');
  });

  it('fails at once where the slice cannot be loaded for another reason', async () => {
    await rig.serving();
    await lose();
    const error = new SkeinError('model-missing', 'gone');
    rig.host().lastLoad.done.reject(error);
    await settled();
    expect(rig.state).toEqual({ phase: 'failed', error });
    expect(rig.sentTypes.slice(-2)).toEqual(['load-failed', 'leave']);
  });
});

describe('an engine that hangs', () => {
  it('is ended and replaced', async () => {
    await rig.serving();
    rig.session.deliver({ type: 'roll-call', nonce: 7 });
    await settled();
    expect(rig.sentTypes).not.toContain('present');
    rig.host(0).pings[0]?.resolve(false);
    await settled();
    expect(rig.host(0).isDisposed).toBe(true);
    expect(rig.state).toMatchObject({
      phase: 'rebuilding',
      error: { code: 'device-lost', data: { reason: 'hung' } },
    });
    // The peer is alive, and the server knows before it hears so that nothing is served here.
    expect(rig.sentTypes.slice(-2)).toEqual(['reloading', 'present']);
    await rig.loaded();
    expect(rig.state.phase).toBe('serving');
  });

  it('has nothing to finish when it stops', async () => {
    await rig.serving();
    rig.contributor.stop();
    rig.session.deliver({ type: 'roll-call', nonce: 7 });
    rig.host().pings[0]?.resolve(false);
    await settled();
    expect(rig.state).toEqual({ phase: 'idle' });
  });

  it('is found by its silence', async () => {
    await rig.serving();
    for (let second = 0; second < 20; second++) {
      rig.clock.advance(1000);
      rig.host().lastLoad.options.onStats(stats(1));
    }
    expect(rig.host().pings).toHaveLength(0);
    rig.clock.advance(5000);
    expect(rig.host().pings).toHaveLength(1);
    rig.host().pings[0]?.resolve(true);
    await settled();
    expect(rig.state.phase).toBe('serving');
    rig.clock.advance(5000);
    rig.host().pings[1]?.resolve(false);
    await settled();
    expect(rig.state.phase).toBe('rebuilding');
    expect(rig.hosts).toHaveLength(2);
  });

  it('is not asked while nothing is loaded', async () => {
    await rig.serving();
    rig.clock.advance(5000);
    rig.session.deliver({ type: 'unassign' });
    rig.host().pings[0]?.resolve(true);
    await settled();
    rig.clock.advance(60_000);
    expect(rig.host().pings).toHaveLength(1);
  });

  it('of an older device says nothing about the present one', async () => {
    await rig.serving();
    rig.session.deliver({ type: 'roll-call', nonce: 7 });
    await lose();
    await rig.loaded();
    rig.host(0).pings[0]?.resolve(false);
    await settled();
    expect(rig.state.phase).toBe('serving');
    expect(rig.hosts).toHaveLength(2);
  });
});

describe('a roll call', () => {
  const present = { type: 'present', nonce: 41 };

  it('is answered once the engine has answered', async () => {
    await rig.serving();
    rig.session.deliver({ type: 'roll-call', nonce: 41 });
    await settled();
    expect(rig.sentTypes).not.toContain('present');
    rig.host().pings[0]?.resolve(true);
    await settled();
    expect(rig.session.sent.at(-1)).toEqual(present);
  });

  it.each(['idle', 'measuring', 'waiting', 'loading'] as const)(
    'is answered at once while %s',
    async (phase) => {
      if (phase === 'measuring') rig.contributor.start({ memoryLimitBytes: 1e9 });
      if (phase === 'waiting') await rig.measured();
      if (phase === 'loading') await rig.loading();
      expect(rig.state.phase).toBe(phase);
      rig.session.deliver({ type: 'roll-call', nonce: 41 });
      await settled();
      expect(rig.session.sent.at(-1)).toEqual(present);
    },
  );

  it('is answered to who asked', async () => {
    await rig.serving();
    rig.session.deliver({ type: 'roll-call', nonce: 41 });
    const next = new FakeSession('b');
    rig.contributor.setSession(next);
    rig.host().pings[0]?.resolve(true);
    await settled();
    expect(rig.session.sent.at(-1)).toEqual(present);
    expect(next.sent.map(({ type }) => type)).toEqual(['join']);
  });
});

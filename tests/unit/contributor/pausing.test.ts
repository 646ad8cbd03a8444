import { beforeEach, describe, expect, it } from 'vitest';
import { NO_STATS } from '../../../src/contributor/contributor-state.ts';
import { REPORT_INTERVAL_MS } from '../../../src/contributor/mesh-reporter.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { ContributorRig, GIB, stats } from './contributor-rig.ts';
import { CAPABILITY, FakeSession, settled } from './fakes.ts';

let rig: ContributorRig;
beforeEach(() => {
  rig = new ContributorRig();
});

describe('a battery', () => {
  it('that runs low stops it politely, with the reason, and starts it again when it charges', async () => {
    await rig.serving();
    rig.host().lastLoad.options.onStats(stats(2));
    rig.hints.battery(16);
    expect(rig.state.phase).toBe('serving');
    rig.hints.battery(15);
    expect(rig.state).toEqual({ phase: 'stopping', activeSequences: 2, reason: 'battery-low' });
    expect(rig.session.sent.at(-1)).toEqual({ type: 'leave' });
    expect(rig.host().isDisposed).toBe(false);
    rig.host().lastLoad.options.onStats(stats(0));
    expect(rig.state).toEqual({ phase: 'paused', reason: 'battery-low' });
    expect(rig.host().isDisposed).toBe(true);

    rig.hints.battery(14);
    expect(rig.hosts).toHaveLength(1);
    rig.hints.battery(14, true);
    expect(rig.state.phase).toBe('measuring');
    expect(rig.host().memoryLimitBytes).toBe(2 * GIB);
    rig.host().measuring.resolve(CAPABILITY);
    await settled();
    expect(rig.sentTypes.at(-1)).toBe('join');
  });

  it('that charges before all is finished starts it again after that', async () => {
    await rig.serving();
    rig.host().lastLoad.options.onStats(stats(2));
    rig.hints.battery(10);
    rig.hints.battery(10, true);
    expect(rig.state.phase).toBe('stopping');
    rig.host().lastLoad.options.onStats(stats(0));
    expect(rig.state.phase).toBe('measuring');
    expect(rig.hosts).toHaveLength(2);
  });

  it('is no matter where it charges', async () => {
    await rig.serving();
    rig.hints.battery(5, true);
    expect(rig.state.phase).toBe('serving');
    rig.hints.battery(5);
    expect(rig.state.phase).toBe('stopping');
  });

  it('that is low already does not keep a person from starting', async () => {
    rig.hints.battery(9);
    await rig.serving();
    rig.hints.battery(8);
    expect(rig.state.phase).toBe('serving');
  });

  it.each(['measuring', 'waiting', 'loading'] as const)(
    'that runs low while %s ends it at once',
    async (phase) => {
      if (phase === 'measuring') rig.contributor.start({ memoryLimitBytes: GIB });
      if (phase === 'waiting') await rig.measured();
      if (phase === 'loading') await rig.loading();
      expect(rig.state.phase).toBe(phase);
      rig.hints.battery(3);
      expect(rig.state).toEqual({ phase: 'paused', reason: 'battery-low' });
      expect(rig.host().isDisposed).toBe(true);
      expect(rig.sentTypes).toEqual(phase === 'measuring' ? [] : ['join', 'leave']);
    },
  );

  it('does not start what the person stopped meanwhile', async () => {
    await rig.serving();
    rig.hints.battery(3);
    rig.contributor.stop();
    expect(rig.state).toEqual({ phase: 'idle' });
    rig.hints.battery(3, true);
    expect(rig.hosts).toHaveLength(1);
  });

  it('does not start what the person stopped while it was paused', async () => {
    await rig.measured();
    rig.hints.battery(3);
    rig.contributor.stop();
    expect(rig.state).toEqual({ phase: 'idle' });
    rig.hints.battery(90, true);
    expect(rig.hosts).toHaveLength(1);
  });

  it('does not start what failed, nor what was never started', async () => {
    rig.hints.battery(3);
    rig.hints.battery(3, true);
    expect(rig.hosts).toHaveLength(0);
    rig.contributor.start({ memoryLimitBytes: GIB });
    rig.host().measuring.reject(new SkeinError('no-adapter', 'none'));
    await settled();
    rig.hints.battery(3);
    rig.hints.battery(3, true);
    expect(rig.state.phase).toBe('failed');
    expect(rig.hosts).toHaveLength(1);
  });

  it('does not break off what the person lets finish', async () => {
    await rig.serving();
    rig.host().lastLoad.options.onStats(stats(2));
    rig.contributor.stop();
    rig.hints.battery(3);
    expect(rig.state).toEqual({ phase: 'stopping', activeSequences: 2 });
    rig.host().lastLoad.options.onStats(stats(0));
    expect(rig.state).toEqual({ phase: 'idle' });
  });
});

describe('what a device says of itself', () => {
  it('is in its reports, as it is then', async () => {
    await rig.serving();
    rig.hints.change({ isHidden: true });
    rig.hints.battery(80);
    rig.host().lastLoad.options.onStats({ ...NO_STATS, atMs: 1000 });
    rig.host().lastLoad.options.onStats({ ...NO_STATS, atMs: 2000 });
    rig.clock.advance(REPORT_INTERVAL_MS);
    expect(rig.session.sent.at(-1)).toMatchObject({
      type: 'report',
      hints: { isHidden: true, isOnBattery: true },
    });
    rig.hints.change({ isHidden: false });
    rig.hints.battery(80, true);
    rig.host().lastLoad.options.onStats({ ...NO_STATS, atMs: 3000 });
    rig.clock.advance(REPORT_INTERVAL_MS);
    expect(rig.session.sent.at(-1)).toMatchObject({ hints: { isHidden: false, isOnBattery: false } });
  });

  it('does not stop a hidden tab', async () => {
    await rig.serving();
    rig.hints.change({ isHidden: true });
    expect(rig.state.phase).toBe('serving');
    expect(rig.sentTypes).not.toContain('leave');
  });
});

describe('a page that the browser freezes', () => {
  it('leaves, keeps nothing loaded, and joins again when it runs', async () => {
    await rig.serving();
    rig.contributor.freeze();
    expect(rig.state).toEqual({ phase: 'paused', reason: 'frozen' });
    expect(rig.session.sent.at(-1)).toEqual({ type: 'leave' });
    expect(rig.host().unloads).toBe(1);
    expect(rig.host().isDisposed).toBe(false);
    rig.assign();
    rig.session.deliver({ type: 'unassign' });
    rig.session.deliver({ type: 'error', error: { code: 'busy', message: 'later' } });
    expect(rig.state.phase).toBe('paused');
    expect(rig.host().loads).toHaveLength(1);

    rig.contributor.thaw();
    expect(rig.state.phase).toBe('waiting');
    expect(rig.sentTypes.slice(-2)).toEqual(['leave', 'join']);
    rig.assign();
    await rig.loaded();
    expect(rig.state.phase).toBe('serving');
    expect(rig.hosts).toHaveLength(1);
  });

  it('joins over the connection that there is then', async () => {
    await rig.serving();
    rig.contributor.freeze();
    const next = new FakeSession('b');
    rig.contributor.setSession(next);
    expect(next.sent).toEqual([]);
    rig.contributor.thaw();
    expect(next.sent).toEqual([{ type: 'join', capability: CAPABILITY, cached: [] }]);
  });

  it('finishes nothing that was to be finished', async () => {
    await rig.serving();
    rig.host().lastLoad.options.onStats(stats(2));
    rig.contributor.stop();
    rig.contributor.freeze();
    expect(rig.state).toEqual({ phase: 'idle' });
    rig.contributor.thaw();
    expect(rig.state).toEqual({ phase: 'idle' });
  });

  it('can be stopped, and left alone when nothing was started', async () => {
    rig.contributor.freeze();
    rig.contributor.thaw();
    expect(rig.session.sent).toEqual([]);
    await rig.serving();
    rig.contributor.freeze();
    rig.contributor.stop();
    expect(rig.state).toEqual({ phase: 'idle' });
    expect(rig.host().isDisposed).toBe(true);
    rig.contributor.thaw();
    expect(rig.sentTypes).toEqual(['join', 'serving', 'leave']);
  });

  it('says nothing of itself meanwhile', async () => {
    await rig.serving();
    rig.session.links = [{ peer: rig.session.self, rttSeconds: 1, bytesPerSecond: null }];
    rig.contributor.freeze();
    const { length } = rig.session.sent;
    rig.clock.advance(10 * REPORT_INTERVAL_MS);
    expect(rig.session.sent).toHaveLength(length);
  });
});

describe('a page that goes away', () => {
  it('says goodbye at once, whatever is under way', async () => {
    await rig.serving();
    rig.host().lastLoad.options.onStats(stats(2));
    rig.contributor.leave();
    expect(rig.session.sent.at(-1)).toEqual({ type: 'leave' });
    expect(rig.host().isDisposed).toBe(true);
    expect(rig.state).toEqual({ phase: 'idle' });
    rig.contributor.leave();
    expect(rig.sentTypes.filter((type) => type === 'leave')).toHaveLength(1);
  });

  it('says nothing where it lends nothing', () => {
    rig.contributor.leave();
    expect(rig.session.sent).toEqual([]);
  });
});

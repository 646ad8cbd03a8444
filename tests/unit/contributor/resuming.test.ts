import { beforeEach, describe, expect, it } from 'vitest';
import type { ServerMessage } from '../../../src/protocol/signaling.ts';
import { SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { ContributorRig, stats } from './contributor-rig.ts';
import { CAPABILITY, settled, TINY } from './fakes.ts';

const SLICE = { model: TINY.id, layerStart: 0, layerEnd: 4 };
const JOIN = { type: 'join', capability: CAPABILITY, cached: [] };

let rig: ContributorRig;
beforeEach(() => {
  rig = new ContributorRig();
});

/** The connection is back under the same id. */
function resume(): void {
  const welcome: Extract<ServerMessage, { type: 'welcome' }> = {
    type: 'welcome',
    version: SIGNALING_VERSION,
    peer: rig.session.self,
    models: [TINY],
    iceServers: [],
  };
  rig.session.sent.length = 0;
  rig.session.deliver({ type: 'resumed', welcome });
}

describe('a connection that comes back', () => {
  it('finds a stage that serves still serving, and the server hears what it holds', async () => {
    await rig.serving();
    resume();
    expect(rig.session.sent).toEqual([{ ...JOIN, holds: SLICE }]);
    expect(rig.state.phase).toBe('serving');
    expect(rig.host().unloads).toBe(0);
    rig.assign();
    expect(rig.host().loads).toHaveLength(1);
  });

  it('says of whose weights there are some', async () => {
    await rig.serving();
    rig.host().cached = Array.from({ length: 20 }, () => SLICE);
    resume();
    expect(rig.session.sent).toEqual([{ ...JOIN, cached: rig.host().cached.slice(0, 16), holds: SLICE }]);
  });

  it('moves a stage when the server wants something else of it', async () => {
    await rig.serving();
    resume();
    rig.assign(4, 8);
    expect(rig.host().loads).toHaveLength(2);
    expect(rig.state).toMatchObject({ phase: 'loading', slice: { layerStart: 4 } });
  });

  it('joins again while there is no work', async () => {
    await rig.measured();
    resume();
    expect(rig.session.sent).toEqual([JOIN]);
    expect(rig.state.phase).toBe('waiting');
  });

  it('lets a load go on, and what is loaded in the end is what it holds', async () => {
    await rig.loading();
    resume();
    expect(rig.session.sent).toEqual([JOIN]);
    expect(rig.host().lastLoad.options.signal.aborted).toBe(false);
    await rig.loaded();
    expect(rig.session.sent).toEqual([JOIN, { ...JOIN, holds: SLICE }]);
    expect(rig.state.phase).toBe('serving');
    rig.host().loss.resolve(new SkeinError('device-lost', 'gone'));
    await settled();
    await rig.loaded();
    expect(rig.sentTypes).toEqual(['join', 'join', 'reloading', 'serving']);
  });

  it('lets a load go on that the server asks for again', async () => {
    await rig.loading();
    resume();
    rig.assign();
    await rig.loaded();
    expect(rig.host().loads).toHaveLength(1);
    expect(rig.session.sent).toEqual([JOIN, { type: 'serving', ...SLICE }]);
  });

  it('lets a rebuild go on', async () => {
    await rig.serving();
    rig.host().loss.resolve(new SkeinError('device-lost', 'gone'));
    await settled();
    resume();
    expect(rig.session.sent).toEqual([JOIN]);
    await rig.loaded();
    expect(rig.session.sent).toEqual([JOIN, { ...JOIN, holds: SLICE }]);
  });

  it('does not join what stops', async () => {
    await rig.serving();
    rig.host().lastLoad.options.onStats(stats(2));
    rig.contributor.stop();
    resume();
    expect(rig.session.sent).toEqual([]);
    expect(rig.state.phase).toBe('stopping');
    rig.host().lastLoad.options.onStats(stats(0));
    expect(rig.state).toEqual({ phase: 'idle' });
  });

  it('does not join what was never started, or is still measured', async () => {
    resume();
    rig.contributor.start({ memoryLimitBytes: 1e9 });
    resume();
    expect(rig.session.sent).toEqual([]);
    rig.host().measuring.resolve(CAPABILITY);
    await settled();
    expect(rig.session.sent).toEqual([JOIN]);
  });
});

import { beforeEach, describe, expect, it } from 'vitest';
import { NO_STATS } from '../../../src/contributor/contributor-state.ts';
import type { StageStats } from '../../../src/contributor/contributor-state.ts';
import { MeshReporter, REPORT_INTERVAL_MS } from '../../../src/contributor/mesh-reporter.ts';
import { decodeClientMessage } from '../../../src/protocol/signaling.ts';
import type { SliceName } from '../../../src/protocol/signaling.ts';
import { ManualClock } from '../mesh/manual-clock.ts';
import { FakeHints, FakeSession, peerId, settled, TINY } from './fakes.ts';

const SLICE: SliceName = { model: TINY.id, layerStart: 2, layerEnd: 5 };
const HINTS = { isHidden: false, isOnBattery: false };
const LINK = { peer: peerId('b'), rttSeconds: 0.02, bytesPerSecond: null };

let clock: ManualClock;
let session: FakeSession;
let reporter: MeshReporter;

beforeEach(() => {
  clock = new ManualClock();
  session = new FakeSession('a');
  reporter = new MeshReporter(session, clock, new FakeHints());
});

/** Totals after so many seconds of steady work: 10 steps, 25 rows and half a second of computing in each. */
function statsAt(seconds: number): StageStats {
  const totals = {
    atMs: 5000 + seconds * 1000,
    steps: seconds * 10,
    tokens: seconds * 25,
    busyMs: seconds * 500,
  };
  return { ...NO_STATS, ...totals, activeSequences: 3, freeCacheTokens: 128, cacheTokens: 2048 };
}

describe('what a contributor reports', () => {
  it('is the work since the last report, in a form that the server takes', () => {
    for (const second of [1, 2, 3]) reporter.hear(SLICE, statsAt(second));
    clock.advance(REPORT_INTERVAL_MS);
    for (const second of [4, 7]) reporter.hear(SLICE, statsAt(second));
    clock.advance(REPORT_INTERVAL_MS);
    const now = { ...SLICE, activeSequences: 3, freeCacheTokens: 128, cacheTokens: 2048 };
    expect(session.sent).toEqual([
      {
        type: 'report',
        stage: { ...now, steps: 20, rows: 50, busySeconds: 1, seconds: 2 },
        links: [],
        hints: HINTS,
      },
      {
        type: 'report',
        stage: { ...now, steps: 40, rows: 100, busySeconds: 2, seconds: 4 },
        links: [],
        hints: HINTS,
      },
    ]);
    for (const message of session.sent) expect(decodeClientMessage(JSON.stringify(message))).toEqual(message);
  });

  it('is nothing while there is nothing to say', () => {
    clock.advance(10 * REPORT_INTERVAL_MS);
    reporter.hear(SLICE, statsAt(1));
    clock.advance(REPORT_INTERVAL_MS);
    expect(session.sent).toEqual([]);
  });

  it('has the links, also of a peer that serves nothing', () => {
    session.links = [LINK];
    clock.advance(REPORT_INTERVAL_MS);
    expect(session.sent).toEqual([{ type: 'report', stage: null, links: [LINK], hints: HINTS }]);
  });

  it('never mixes the counts of two stages, not even of the same layers loaded twice', () => {
    for (const second of [1, 9]) reporter.hear(SLICE, statsAt(second));
    reporter.hear({ ...SLICE, layerEnd: 8 }, statsAt(20));
    clock.advance(REPORT_INTERVAL_MS);
    expect(session.sent).toEqual([]);
    const again = { ...SLICE };
    reporter.hear(again, statsAt(30));
    reporter.hear(again, { ...statsAt(31), steps: 2, tokens: 2 });
    clock.advance(REPORT_INTERVAL_MS);
    expect(session.sent).toEqual([]);
  });

  it('ends with the contributor', async () => {
    session.links = [LINK];
    void reporter.probe([peerId('c')]);
    reporter.dispose();
    session.probes[0]?.done.resolve(undefined);
    await settled();
    clock.advance(10 * REPORT_INTERVAL_MS);
    expect(session.sent).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('a probe', () => {
  it('is measured and reported at once', async () => {
    void reporter.probe([peerId('b'), peerId('c')]);
    expect(session.probes.map(({ peers }) => peers)).toEqual([[peerId('b'), peerId('c')]]);
    session.links = [LINK];
    await settled();
    expect(session.sent).toEqual([]);
    session.probes[0]?.done.resolve(undefined);
    await settled();
    expect(session.sent).toEqual([{ type: 'report', stage: null, links: [LINK], hints: HINTS }]);
  });

  it('is not begun while another goes on, and can be after it', async () => {
    for (let index = 0; index < 100; index += 1) void reporter.probe([peerId('b')]);
    expect(session.probes).toHaveLength(1);
    session.probes[0]?.done.resolve(undefined);
    await settled();
    void reporter.probe([peerId('c')]);
    expect(session.probes).toHaveLength(2);
  });
});

import { describe, expect, it } from 'vitest';
import type { ModelId, PeerId } from '../../../src/protocol/ids.ts';
import { allHold } from '../../bench/report.ts';
import type { ChurnResult } from '../../churn/churn.ts';
import type { LoadTotals } from '../../churn/load.ts';
import { MeshWatch } from '../../churn/mesh-watch.ts';
import { churnReport } from '../../churn/report.ts';

const MODEL = 'tiny' as ModelId;

/** A watch that saw these recoveries, in milliseconds, and one that never came for Infinity. */
function watchOf(recoveriesMs: readonly number[], unexplained = 0): MeshWatch {
  let now = 0;
  const watch = new MeshWatch(MODEL, 1, () => now);
  const hear = (peer: PeerId | null) =>
    watch.hear({
      members:
        peer === null
          ? []
          : [{ peer, model: MODEL, layerStart: 0, layerEnd: 1, state: 'serving', adapter: 'GPU' }],
      covered: peer === null ? [] : [MODEL],
    });
  const peer = 'a' as PeerId;
  hear(peer);
  for (const [index, ms] of recoveriesMs.entries()) {
    if (index >= unexplained) watch.leaving(peer);
    hear(null);
    if (!Number.isFinite(ms)) break;
    now += ms;
    hear(peer);
  }
  watch.end();
  return watch;
}

const LOAD: LoadTotals = {
  requests: 80,
  wrong: 0,
  lost: 0,
  tokens: 1300,
  reroutes: 4,
  waits: 30,
  queued: 0,
  latenciesMs: [800],
  fatal: new Map(),
  survived: new Map(),
};

/** Three minutes as they should be. */
function result(changes: Partial<ChurnResult> = {}): ChurnResult {
  return {
    adapter: 'GPU',
    seconds: 180,
    load: LOAD,
    leaves: new Map([
      ['tab stopped', 2],
      ['tab closed', 2],
      ['node stopped', 6],
      ['node killed', 7],
    ]),
    skipped: new Map([['layers are missing', 5]]),
    joins: 17,
    joinsThatServed: 16,
    watch: watchOf([900, 1500, 4000]),
    kinds: new Map(),
    ...changes,
  };
}

const failed = (changes: Partial<ChurnResult>) =>
  churnReport(result(changes))
    .checks.filter(({ holds }) => !holds)
    .map(({ name }) => name);

describe('a churn run', () => {
  it('holds when enough happened and all went well, and tells what did not happen', () => {
    const report = churnReport(result());
    expect(allHold(report)).toBe(true);
    expect(report.tables).toContainEqual({
      title: 'Times that somebody was to leave and nobody could',
      rows: [{ because: 'layers are missing', times: 5 }],
    });
  });

  it('fails by what it is to show', () => {
    const wrong = { ...LOAD, wrong: 1 };
    expect(failed({ load: wrong })).toEqual(['wrong answers']);
    expect(failed({ load: { ...LOAD, lost: 1 } })).toEqual(['lost answers']);
    expect(failed({ watch: watchOf([1000, 2001, 2001]) })).toEqual([
      'median seconds from such a leave to full coverage',
    ]);
    expect(failed({ watch: watchOf([1000, 1000], 1) })).toEqual(['gaps without a leave']);
    expect(failed({ watch: watchOf([1000, 1000, Infinity]) })).toEqual(['gaps that were never closed']);
  });

  it('fails by too little of what it is made of', () => {
    expect(failed({ load: { ...LOAD, requests: 59 } })).toEqual(['right answers a minute']);
    expect(failed({ load: { ...LOAD, lost: 21 } })).toEqual(['lost answers', 'right answers a minute']);
    expect(failed({ joinsThatServed: 15 })).toEqual(['share of those that came back that came to serve']);
    expect(failed({ joins: 0, joinsThatServed: 0 })).toHaveLength(1);
    expect(failed({ watch: watchOf([]) })).toHaveLength(2);
    const few = new Map(result().leaves).set('tab closed', 0);
    expect(failed({ leaves: few })).toEqual(['leaves: tab closed']);
    expect(failed({ leaves: few.set('tab closed', 1), seconds: 90 })).toEqual([]);
    expect(failed({ leaves: few, seconds: 200 })).toContain('leaves: tab closed');
  });

  it('needs leaves only of devices that it has', () => {
    const nodes = new Map(result().leaves);
    nodes.delete('tab closed');
    nodes.delete('tab stopped');
    expect(failed({ leaves: nodes })).toEqual([]);
  });
});

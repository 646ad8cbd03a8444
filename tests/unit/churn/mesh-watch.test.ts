import { beforeEach, describe, expect, it } from 'vitest';
import type { ModelId, PeerId } from '../../../src/protocol/ids.ts';
import type { MeshMember } from '../../../src/protocol/signaling.ts';
import { MeshWatch } from '../../churn/mesh-watch.ts';

const MODEL = 'tiny' as ModelId;

let now: number;
let watch: MeshWatch;

beforeEach(() => {
  now = 1000;
  watch = new MeshWatch(MODEL, 8, () => now);
});

const peer = (name: string) => name as PeerId;

function member(name: string, layerStart: number, layerEnd: number, state: MeshMember['state'] = 'serving') {
  return { peer: peer(name), model: MODEL, layerStart, layerEnd, state, adapter: 'GPU' };
}

function hear(members: readonly MeshMember[], isCovered: boolean): void {
  watch.hear({ members, covered: isCovered ? [MODEL] : [] });
}

describe('recoveries', () => {
  it('last from the leave until every layer is served again', () => {
    hear([member('a', 0, 8)], true);
    now = 2000;
    watch.leaving(peer('a'));
    now = 2400;
    hear([], false);
    now = 2600;
    hear([member('b', 0, 8, 'loading')], false);
    now = 3500;
    hear([member('b', 0, 8)], true);
    expect(watch.recoveriesMs).toEqual([1500]);
    expect(watch.unexplainedGaps).toBe(0);
  });

  it('are none where another peer has the layers', () => {
    hear([member('a', 0, 8), member('b', 0, 8)], true);
    watch.leaving(peer('a'));
    hear([member('b', 0, 8)], true);
    expect(watch.recoveriesMs).toEqual([]);
  });

  it('last from the leave however late the server hears of it, or makes a gap of it', () => {
    hear([member('a', 0, 8)], true);
    watch.leaving(peer('a'));
    now += 20_000;
    hear([], false);
    now += 500;
    hear([member('b', 0, 8), member('c', 0, 8)], true);
    watch.leaving(peer('b'));
    now += 100;
    hear([member('c', 0, 8)], true);
    now += 40_000;
    hear([member('c', 0, 4, 'loading')], false);
    now += 70;
    hear([member('c', 0, 8)], true);
    expect(watch.recoveriesMs).toEqual([20_500, 40_170]);
    expect(watch.unexplainedGaps).toBe(0);
  });

  it('count from the gap where nobody left since the last one, or has gone yet', () => {
    hear([member('a', 0, 8), member('b', 0, 8)], true);
    now += 300;
    hear([member('a', 0, 4, 'loading')], false);
    now += 70;
    hear([member('a', 0, 8), member('b', 0, 8)], true);
    expect([watch.recoveriesMs, watch.unexplainedGaps]).toEqual([[70], 1]);
    watch.leaving(peer('a'));
    now += 10;
    hear([member('a', 0, 8), member('b', 0, 4, 'loading')], false);
    now += 20;
    hear([member('a', 0, 8)], true);
    expect([watch.recoveriesMs, watch.unexplainedGaps]).toEqual([[70, 20], 2]);
    now += 30;
    hear([], false);
    now += 5;
    hear([member('b', 0, 8)], true);
    now += 1;
    hear([member('b', 0, 4, 'loading')], false);
    now += 2;
    hear([member('b', 0, 8)], true);
    expect([watch.recoveriesMs, watch.unexplainedGaps]).toEqual([[70, 20, 65, 2], 3]);
  });

  it('belong to who left just now, and not to who left before and was not missed', () => {
    hear([member('a', 0, 8), member('b', 0, 4), member('c', 4, 8)], true);
    watch.leaving(peer('a'));
    now += 1000;
    watch.leaving(peer('b'));
    now += 10;
    hear([member('b', 0, 4), member('c', 4, 8)], true);
    now += 200;
    hear([member('c', 4, 8)], false);
    now += 1;
    hear([member('a', 0, 8), member('c', 4, 8)], true);
    // Two at once: the one that left first has been missed for longer.
    watch.leaving(peer('a'));
    now += 50;
    watch.leaving(peer('c'));
    now += 50;
    hear([], false);
    now += 3;
    hear([member('b', 0, 8)], true);
    expect(watch.recoveriesMs).toEqual([211, 103]);
  });

  it('may belong to a peer that is back already, under the same name', () => {
    hear([member('a', 0, 8), member('b', 0, 8)], true);
    watch.leaving(peer('a'));
    hear([member('b', 0, 8)], true);
    now += 900;
    hear([member('a', 0, 8, 'loading'), member('b', 0, 8)], true);
    hear([member('a', 0, 8, 'loading'), member('b', 0, 4, 'loading')], false);
    now += 100;
    hear([member('a', 0, 8)], true);
    expect(watch.recoveriesMs).toEqual([1000]);
  });

  it('take for ever where layers are missing to the end', () => {
    hear([member('a', 0, 8)], true);
    watch.leaving(peer('a'));
    hear([], false);
    watch.end();
    watch.end();
    expect(watch.recoveriesMs).toEqual([Infinity]);
    watch = new MeshWatch(MODEL, 8, () => now);
    hear([member('a', 0, 8)], true);
    watch.leaving(peer('a'));
    watch.end();
    expect(watch.recoveriesMs).toEqual([]);
  });

  it('do not count the beginning, when nobody has come yet', () => {
    hear([], false);
    now += 100;
    hear([member('a', 0, 8)], true);
    expect(watch.recoveriesMs).toEqual([]);
  });
});

describe('loads', () => {
  it('last from the assignment to the serving, and are the first of a peer or not', () => {
    hear([member('a', 0, 4, 'loading')], false);
    now += 10;
    hear([member('a', 0, 4, 'loading')], false);
    now += 20;
    hear([member('a', 0, 4)], false);
    now += 5;
    hear([member('a', 4, 8, 'loading')], false);
    now += 7;
    hear([member('a', 4, 8)], false);
    expect(watch.loads).toEqual([
      { peer: 'a', isFirst: true, ms: 30 },
      { peer: 'a', isFirst: false, ms: 7 },
    ]);
  });

  it('of a slice that was taken back count for the next one from its own beginning', () => {
    hear([member('a', 0, 4, 'loading')], false);
    now += 100;
    hear([member('a', 4, 8, 'loading')], false);
    now += 3;
    hear([member('a', 4, 8)], false);
    expect(watch.loads).toEqual([{ peer: 'a', isFirst: true, ms: 3 }]);
  });
});

it('knows without whom layers would be missing', () => {
  hear([member('a', 0, 4), member('b', 4, 8), member('c', 4, 8), member('d', 0, 4, 'loading')], true);
  expect(watch.irreplaceable).toEqual(['a']);
  expect(watch.serves(peer('a'))).toBe(true);
  expect(watch.serves(peer('d'))).toBe(false);
  expect(watch.servingPeers).toBe(3);
  // The slices of b and e overlap, and are used whole: they do not make a way.
  hear([member('a', 0, 4), member('b', 4, 8), member('e', 2, 8)], true);
  expect(watch.irreplaceable).toEqual(['a', 'b']);
});

it('leaves other models alone', () => {
  const other = 'other' as ModelId;
  watch.hear({ members: [{ ...member('a', 0, 8), model: other }], covered: [other] });
  expect(watch.isCovered).toBe(false);
  expect(watch.servingPeers).toBe(0);
});

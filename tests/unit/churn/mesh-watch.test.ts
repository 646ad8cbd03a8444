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
    watch.leaving();
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
    watch.leaving();
    hear([member('b', 0, 8)], true);
    expect(watch.recoveriesMs).toEqual([]);
  });

  it('count from the gap where nobody left shortly before', () => {
    hear([member('a', 0, 8)], true);
    watch.leaving();
    now += 5001;
    hear([member('a', 0, 4, 'loading')], false);
    now += 70;
    hear([member('a', 0, 8)], true);
    expect(watch.recoveriesMs).toEqual([70]);
    expect(watch.unexplainedGaps).toBe(1);
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

import { describe, expect, it } from 'vitest';
import { accusedBy, after, faultyPeers, namedHop, withAccuser } from '../../../src/client/exclusions.ts';
import { FIRST_ATTEMPT } from '../../../src/client/retry.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { PeerId, RequestId } from '../../../src/protocol/ids.ts';
import type { ModelId } from '../../../src/protocol/ids.ts';
import type { Route } from '../../../src/protocol/route.ts';

const peer = (index: number) => index.toString(16).padStart(32, '0') as PeerId;
const route: Route = {
  requestId: '0'.repeat(16) as RequestId,
  epoch: 0,
  model: 'm' as ModelId,
  hops: [0, 1, 2].map((index) => ({ peer: peer(index), layerStart: index, layerEnd: index + 1 })),
};
const lost = (index: number) => new SkeinError('peer-lost', 'gone', { data: { peer: peer(index) } });

describe('whom the next routes do without', () => {
  it('is never more than a route request may name, the latest', () => {
    const exclude = Array.from({ length: 64 }, (_, index) => peer(index));
    const { retry } = after({ ...FIRST_ATTEMPT, exclude }, [peer(100), peer(3)], []);
    expect(retry.exclude).toEqual([...exclude.slice(1), peer(100)]);
  });

  it('has a reason each, as long as it is excluded', () => {
    const first = accusedBy([], peer(0), 'peer-lost', [peer(1)]);
    const both = accusedBy(first, peer(1), 'timeout', [peer(1), peer(2)]);
    expect(both).toEqual([
      { peer: peer(1), code: 'timeout', accuser: null },
      { peer: peer(2), code: 'timeout', accuser: peer(1) },
    ]);
    expect(after({ ...FIRST_ATTEMPT, exclude: [peer(2)] }, [], both).exclusions).toEqual(both.slice(1));
    expect(after(FIRST_ATTEMPT, [], both).exclusions).toEqual([]);
  });

  it('are hops that an error names, and who reported two losses since the last token before', () => {
    const before = withAccuser(withAccuser([], peer(0)), peer(0));
    expect(faultyPeers(lost(1), peer(0), route, before)).toEqual([peer(1), peer(0)]);
    expect(faultyPeers(lost(1), peer(0), route, before.slice(1))).toEqual([peer(1)]);
    expect(faultyPeers(lost(1), peer(2), route, before)).toEqual([peer(1)]);
    expect(faultyPeers(lost(1), null, route, before)).toEqual([peer(1)]);
    // Who names itself accuses nobody.
    expect(faultyPeers(lost(0), peer(0), route, before)).toEqual([peer(0)]);
    expect(faultyPeers(lost(9), peer(2), route, [])).toEqual([]);
    expect(faultyPeers(new SkeinError('timeout', 'silence'), null, route, [])).toEqual([]);
  });

  it('are both where one says for the second time that another sent wrong values', () => {
    const wrong = new SkeinError('bad-frame', 'not finite', { data: { peer: peer(1) } });
    expect(faultyPeers(wrong, peer(2), route, [])).toEqual([peer(1)]);
    expect(faultyPeers(wrong, peer(2), route, [peer(0)])).toEqual([peer(1)]);
    expect(faultyPeers(wrong, peer(2), route, [peer(2)])).toEqual([peer(1), peer(2)]);
    expect(faultyPeers(wrong, null, route, [peer(2)])).toEqual([peer(1)]);
    expect(faultyPeers(wrong, peer(1), route, [peer(1)])).toEqual([peer(1)]);
    const bystander = new SkeinError('bad-frame', 'not finite', { data: { peer: peer(9) } });
    expect(faultyPeers(bystander, peer(2), route, [peer(2)])).toEqual([]);
  });

  it('are noted as accusers up to a number, the latest', () => {
    let accusers = withAccuser([], null);
    for (let index = 0; index < 100; index++) accusers = withAccuser(accusers, peer(index));
    expect(accusers).toEqual(Array.from({ length: 64 }, (_, index) => peer(36 + index)));
  });

  it('can be told to people, where it is a hop', () => {
    expect([namedHop(lost(1), route), namedHop(lost(9), route)]).toEqual([peer(1), null]);
  });
});

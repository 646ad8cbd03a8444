import { expect, it } from 'vitest';
import { Peers } from '../../../signaling/peers.ts';
import { Rebalancing } from '../../../signaling/rebalancing.ts';
import type { Assignment } from '../../../signaling/scheduler/types.ts';
import { node, peerId, slice } from './scheduler/instances.ts';

const [A, B] = [peerId(1), peerId(2)] as const;
const lent = { capability: node(0).capability, cached: [], abandoned: [] };

it('says of the moves only why those are made that are', () => {
  const peers = new Peers();
  peers.set(A, { kind: 'waiting', lent });
  peers.set(B, { kind: 'loading', lent, slice: slice(0, 4), sinceMs: 0, turn: null });
  const placement = {
    assignments: new Map<typeof A, Assignment>([
      [A, slice(0, 4)],
      [B, slice(4, 8)],
    ]),
    why: [`${A} takes the first half`, `${B} moves to the second`, 'the mesh is better balanced'],
    missing: new Map(),
    predicted: new Map(),
  };
  const restrained = new Rebalancing(peers, 0).restrain(placement, 0, true);
  expect([...(restrained?.assignments ?? [])]).toEqual([
    [A, slice(0, 4)],
    [B, slice(0, 4)],
  ]);
  expect(restrained?.why).toEqual([`${A} takes the first half`, 'the mesh is better balanced']);
});

import { expect, it } from 'vitest';
import { ONE_REGION } from '../../../signaling/scheduler/network.ts';
import type { RouteInput, ServingMember } from '../../../signaling/scheduler/types.ts';
import { AskedDesk } from '../../bench/route-asking.ts';
import { card, node, peerId } from '../signaling/scheduler/instances.ts';

const REQUESTER = peerId(99);

function member(index: number, layerStart: number, layerEnd: number): ServingMember {
  return {
    ...node(index),
    layerStart,
    layerEnd,
    inFlight: 0,
    reservedTokens: 0,
    cacheTokens: 4000,
    pace: 1,
  };
}

function input(members: readonly ServingMember[], tokens = 1000): RouteInput {
  return {
    card: card(),
    members,
    exclude: new Set(),
    network: ONE_REGION,
    requesterRegion: 0,
    tokens,
    previous: [],
  };
}

it('asks for a route over those who serve, and gives it up again', () => {
  const desk = new AskedDesk(input([member(0, 0, 5), member(1, 5, 8)]), 0);
  // Together they would not find room.
  for (let request = 0; request < 20; request += 1) {
    expect(desk.ask(REQUESTER, request)?.hops.map(({ peer }) => peer)).toEqual([peerId(0), peerId(1)]);
  }
});

it('tells of requests without a route', () => {
  expect(new AskedDesk(input([member(0, 0, 5)]), 0).ask(REQUESTER, 0)).toBeNull();
  expect(new AskedDesk(input([member(0, 0, 8)], 30_000), 0).ask(REQUESTER, 0)).toBeNull();
});

import { describe, expect, it } from 'vitest';
import type { Frame } from '../../../src/protocol/frames.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { MAX_SUSPENDED_SEQUENCES, SLOW_HOP_PATIENCE_MS, STUCK_HOP_MS } from '../../../src/protocol/limits.ts';
import { peerId, requestId, settled } from './local-mesh.ts';
import { around, gatedTransport } from './stage-rig.ts';

describe('a next hop that takes nothing', () => {
  const rows = (id: number, position: number): Frame => {
    const sequence = { requestId: requestId(id), epoch: 0, position, rows: 1, values: new Float32Array(2) };
    return { type: 'activations', hiddenSize: 2, sequences: [sequence] };
  };

  it('stops what goes over it, and nothing else, until it takes something again', async () => {
    const gate = gatedTransport();
    const { mesh, peers, open, say, request, machine, puppet, hop } = around(1, { wrap: gate.wrap });
    const stuck = peers.stranger;
    const hops = request.route.hops.map((each, index) => (index === 2 ? { ...each, peer: stuck } : each));
    await open(peers.first, { route: { ...request.route, hops } });
    await open(peers.first, { route: { ...request.route, requestId: requestId(2) } });
    gate.close(stuck);
    const computed = (id: number) => machine.sequences.get(requestId(id))?.computed ?? 0;
    await say(peers.first, rows(1, 0));
    for (let position = 0; position < 5; position += 1) await say(peers.first, rows(2, position));
    // The step waits, and with it everybody.
    expect([computed(1), computed(2)]).toEqual([1, 0]);
    mesh.clock.advance(SLOW_HOP_PATIENCE_MS);
    await settled();
    expect(computed(2)).toBe(5);
    for (let position = 1; position < 5; position += 1) await say(peers.first, rows(1, position));
    for (let position = 5; position < 9; position += 1) await say(peers.first, rows(2, position));
    expect([computed(1), computed(2)]).toEqual([1, 9]);
    expect(
      puppet(peers.last)
        .heardTypes(hop.peer)
        .filter((type) => type === 'activations'),
    ).toHaveLength(5);
    mesh.clock.advance(STUCK_HOP_MS - 1);
    gate.open();
    await settled();
    expect([computed(1), computed(2)]).toEqual([5, 9]);
    mesh.clock.advance(STUCK_HOP_MS);
    await settled();
    expect(puppet(peers.requester).failures).toEqual([]);
  });

  it('has failed what goes over it when it takes nothing at all, and is named', async () => {
    const gate = gatedTransport();
    const { mesh, peers, open, say, served, puppet } = around(1, { wrap: gate.wrap });
    await open(peers.first);
    gate.close(peers.last);
    await say(peers.first, rows(1, 0));
    mesh.clock.advance(SLOW_HOP_PATIENCE_MS + STUCK_HOP_MS - 1);
    await settled();
    expect(puppet(peers.requester).failures).toEqual([]);
    mesh.clock.advance(1);
    await settled();
    const failed = puppet(peers.requester).heard.map(({ frame }) => frame);
    expect(failed).toMatchObject([
      { type: 'failed', error: { code: 'timeout', data: { peer: peers.last } } },
    ]);
    expect([served.activeRequests, served.suspendedRequests]).toEqual([0, 1]);
  });
});

describe('a full stage', () => {
  const PLACES = 4;

  /** A first hop with so many places, and a request for each of these requesters. */
  async function crowded(requesters: readonly PeerId[]) {
    const rig = around(0, { maxRequests: PLACES });
    const ask = async (requester: PeerId, id: number) => {
      const route = { ...rig.request.route, requestId: requestId(id) };
      await rig.open(requester, { requester, route });
    };
    for (const [index, requester] of requesters.entries()) await ask(requester, index + 1);
    const open = () => [...rig.machine.sequences.keys()];
    return { ...rig, ask, open };
  }

  it('gives a place that nobody ever used to somebody who has fewer', async () => {
    const { ask, open, puppet, say } = await crowded(Array<PeerId>(PLACES).fill(peerId(9)));
    await say(peerId(9), {
      type: 'tokens',
      sequences: [{ requestId: requestId(1), epoch: 0, position: 0, tokenIds: Uint32Array.of(1, 2, 3) }],
    });
    await ask(peerId(0xff), 9);
    expect(open()).toEqual([1, 3, 4, 9].map(requestId));
    expect([puppet(peerId(9)).failures, puppet(peerId(0xff)).failures]).toEqual([['busy'], []]);
    // Not for one more of somebody who would have as many then.
    await ask(peerId(0xff), 10);
    await ask(peerId(0xff), 11);
    expect(open()).toEqual([1, 4, 9, 10].map(requestId));
    expect(puppet(peerId(0xff)).failures).toEqual(['busy']);
  });

  it('takes no place from who is at work', async () => {
    const { ask, open, puppet, say } = await crowded(Array<PeerId>(PLACES).fill(peerId(9)));
    const sequences = [1, 2, 3, 4].map((id) => {
      return { requestId: requestId(id), epoch: 0, position: 0, tokenIds: Uint32Array.of(1, 2, 3) };
    });
    await say(peerId(9), { type: 'tokens', sequences });
    await ask(peerId(0xff), 9);
    expect(open()).toEqual([1, 2, 3, 4].map(requestId));
    expect(puppet(peerId(0xff)).failures).toEqual(['busy']);
  });

  it('gives up what waits for a later epoch, the longest first', async () => {
    const { ask, open, say, served } = await crowded([peerId(9), peerId(9), peerId(0xff), peerId(0xff)]);
    for (const id of [3, 1]) {
      const tokenIds = Uint32Array.of(1, 2, 3, 4);
      const sequences = [{ requestId: requestId(id), epoch: 0, position: 0, tokenIds }];
      await say(id === 3 ? peerId(0xff) : peerId(9), { type: 'tokens', sequences });
    }
    expect([served.activeRequests, served.suspendedRequests]).toEqual([2, 2]);
    await ask(peerId(0xff), 9);
    expect(open()).toEqual([1, 2, 4, 9].map(requestId));
  });

  it('keeps no more than so many of those in any case', async () => {
    const rig = around(0);
    for (let id = 1; id <= MAX_SUSPENDED_SEQUENCES + 3; id += 1) {
      await rig.open(rig.peers.requester, { route: { ...rig.request.route, requestId: requestId(id) } });
      const sequences = [{ requestId: requestId(id), epoch: 0, position: 5, tokenIds: Uint32Array.of(1) }];
      await rig.say(rig.peers.requester, { type: 'tokens', sequences });
    }
    expect(rig.served.suspendedRequests).toBe(MAX_SUSPENDED_SEQUENCES);
    expect(rig.machine.sequences.has(requestId(3))).toBe(false);
    expect(rig.machine.sequences.has(requestId(4))).toBe(true);
  });
});

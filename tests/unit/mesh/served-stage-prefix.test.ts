import { describe, expect, it } from 'vitest';
import { cacheScope } from '../../../src/mesh/cache-scope.ts';
import type { Frame } from '../../../src/protocol/frames.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { chainOf, requestId } from './local-mesh.ts';
import { around, closeFrame, rowsFrame, tokensFrame } from './stage-rig.ts';

describe('a cached prefix', () => {
  const promptIds = Array.from({ length: 50 }, (_, index) => index * 3);
  const blockHashes = [...chainOf(promptIds).hashes];
  const changes = { promptTokens: promptIds.length, blockHashes };

  /** A stage that has so many blocks of the prompt. */
  function knowing(stageIndex: number, blocks: number) {
    const rig = around(stageIndex);
    for (const hash of blockHashes.slice(0, blocks)) {
      rig.machine.cache.set(`${cacheScope(rig.request, stageIndex)} ${hash}`, [1, 2]);
    }
    const heard = (peer: PeerId) => rig.puppet(peer).heard.map(({ frame }) => frame);
    return { ...rig, heard };
  }

  it.each([
    [0, 48, 0],
    [1, 48, 16],
    [3, 16, 16],
    [3, 0, 0],
  ])('of %i blocks here and %i tokens upstream is one of %i', async (blocks, upstream, least) => {
    const middle = knowing(1, blocks);
    await middle.open(middle.peers.first, changes, upstream);
    const passedOn = { type: 'open', cachedTokens: least, request: { blockHashes } };
    expect(middle.heard(middle.peers.last)).toMatchObject([passedOn]);
    expect(middle.heard(middle.peers.requester)).toEqual([]);

    const last = knowing(2, blocks);
    await last.open(last.peers.middle, changes, upstream);
    const answer = { type: 'opened', requestId: requestId(1), epoch: 0, cachedTokens: least };
    expect(last.heard(last.peers.requester)).toEqual([answer]);
  });

  it('that the first hop has nothing of is known at once', async () => {
    const without = knowing(0, 0);
    await without.open(without.peers.requester, changes, 48);
    expect(without.heard(without.peers.requester)).toMatchObject([{ type: 'opened', cachedTokens: 0 }]);
    expect(without.heard(without.peers.middle)).toMatchObject([{ type: 'open', cachedTokens: 0 }]);
    const withSome = knowing(0, 1);
    await withSome.open(withSome.peers.requester, changes, 48);
    expect(withSome.heard(withSome.peers.requester)).toEqual([]);
  });

  it('is not spoken of when there can be none', async () => {
    for (const none of [
      { promptTokens: 50, blockHashes: [] },
      { promptTokens: 16, blockHashes: blockHashes.slice(0, 1) },
    ]) {
      const { heard, open, peers } = knowing(2, 3);
      await open(peers.middle, none);
      expect(heard(peers.requester)).toEqual([]);
    }
  });

  it.each([0, 16, 32])('may be skipped up to position %i', async (position) => {
    const first = knowing(0, 2);
    await first.open(first.peers.requester, changes, 48);
    await first.say(first.peers.requester, tokensFrame(position, promptIds.slice(position)));
    await first.say(first.peers.last, tokensFrame(50, [7]));
    expect(first.machine.sequences.get(requestId(1))?.computed).toBe(51);
    expect(first.machine.rowsComputed).toBe(51 - position);

    const middle = knowing(1, 2);
    await middle.open(middle.peers.first, changes, 48);
    await middle.say(middle.peers.first, rowsFrame(position, 5));
    await middle.say(middle.peers.first, rowsFrame(position + 5, 5));
    expect(middle.machine.sequences.get(requestId(1))?.computed).toBe(position + 10);
    expect(middle.served.counters.rejected).toBe(0);
  });

  const wrong: Record<string, readonly [stage: 0 | 1, Frame[]]> = {
    'a prompt beyond what is cached': [0, [tokensFrame(48, promptIds.slice(48))]],
    'a prompt from inside a block': [0, [tokensFrame(8, promptIds.slice(8))]],
    'a prompt that does not reach its end': [0, [tokensFrame(16, promptIds.slice(16, 49))]],
    'a prompt past its end': [0, [tokensFrame(16, [...promptIds.slice(16), 1])]],
    'the skipped part later': [
      0,
      [tokensFrame(16, promptIds.slice(16)), tokensFrame(0, promptIds.slice(0, 16))],
    ],
    'rows beyond what is cached': [1, [rowsFrame(48, 2)]],
    'rows from inside a block': [1, [rowsFrame(8, 2)]],
    'rows that skip a block later': [1, [rowsFrame(0, 2), rowsFrame(16, 2)]],
    'rows of the skipped part': [1, [rowsFrame(32, 2), rowsFrame(16, 2)]],
  };
  it.each(Object.entries(wrong))('does not allow %s', async (_name, [stageIndex, frames]) => {
    const { open, say, peers, puppet, served } = knowing(stageIndex, 2);
    const upstream = stageIndex === 0 ? peers.requester : peers.first;
    await open(upstream, changes, 48);
    for (const frame of frames) await say(upstream, frame);
    expect(puppet(peers.requester).failures).toEqual(['bad-frame']);
    expect(served.activeRequests).toBe(0);
  });

  it('is no longer than what the hops before have, whatever is here', async () => {
    const { open, say, peers, puppet } = knowing(1, 3);
    await open(peers.first, changes, 16);
    await say(peers.first, rowsFrame(32, 2));
    expect(puppet(peers.requester).failures).toEqual(['bad-frame']);
  });

  it('is named again by a close, here and down the route', async () => {
    const { open, say, peers, machine, heard } = knowing(1, 0);
    await open(peers.first, changes, 0);
    const named = [...blockHashes, 'f'.repeat(32)];
    await say(peers.first, { ...closeFrame, blockHashes: named });
    expect(machine.closedWith).toEqual([named]);
    expect(heard(peers.last).at(-1)).toEqual({ ...closeFrame, blockHashes: named });
  });

  it('is not named by a next epoch from another peer', async () => {
    const { open, peers, machine, request } = knowing(1, 0);
    await open(peers.first, { promptTokens: 20, blockHashes: blockHashes.slice(0, 1) });
    const hops = request.route.hops.map((hop, index) =>
      index === 0 ? { ...hop, peer: peers.stranger } : hop,
    );
    await open(peers.stranger, { ...changes, route: { ...request.route, epoch: 1, hops } });
    expect(machine.closedWith).toEqual([[]]);
    expect(machine.sequences.get(requestId(1))?.request.route.epoch).toBe(1);
  });

  it('is kept for the next epoch, by the hashes which that one brings', async () => {
    const { open, peers, machine, heard, request } = knowing(1, 0);
    await open(peers.first, { promptTokens: 20, blockHashes: blockHashes.slice(0, 1) });
    await open(peers.first, { ...changes, route: { ...request.route, epoch: 1 } });
    expect(machine.closedWith).toEqual([blockHashes]);
    expect(heard(peers.last)).toMatchObject([
      { type: 'open' },
      { type: 'close', epoch: 0, blockHashes },
      { type: 'open', request: { route: { epoch: 1 } } },
    ]);
  });
});

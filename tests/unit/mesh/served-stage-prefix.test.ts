import { describe, expect, it } from 'vitest';
import { cacheScope } from '../../../src/mesh/cache-scope.ts';
import { JOURNAL_PIECE_BYTES } from '../../../src/mesh/journal.ts';
import type { Frame } from '../../../src/protocol/frames.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { BLOCK_TOKENS } from '../../../src/protocol/stage.ts';
import { chainOf, requestId } from './local-mesh.ts';
import { around, beginFrame, closeFrame, offerOf, rowsFrame, tokensFrame } from './stage-rig.ts';

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

  it.each([0, 1, 3])('of %i blocks is offered, behind what others offered', async (blocks) => {
    const offers = [48, blocks * BLOCK_TOKENS].map(offerOf);
    const middle = knowing(1, blocks);
    await middle.open(middle.peers.first, changes, 48);
    expect(middle.heard(middle.peers.last)).toMatchObject([
      { type: 'open', offers, request: { blockHashes } },
    ]);
    expect(middle.heard(middle.peers.requester)).toEqual([]);

    const last = knowing(2, blocks);
    await last.open(last.peers.middle, changes, 48);
    const all = [48, 48, blocks * BLOCK_TOKENS].map(offerOf);
    const answer = { type: 'opened', requestId: requestId(1), epoch: 0, offers: all };
    expect(last.heard(last.peers.requester)).toEqual([answer]);
  });

  it('that the first hop has nothing of is known at once', async () => {
    const without = knowing(0, 0);
    await without.open(without.peers.requester, changes);
    expect(without.heard(without.peers.requester)).toMatchObject([{ type: 'opened', offers: [offerOf(0)] }]);
    expect(without.heard(without.peers.middle)).toMatchObject([{ type: 'open', offers: [offerOf(0)] }]);
    const withSome = knowing(0, 1);
    await withSome.open(withSome.peers.requester, changes);
    expect(withSome.heard(withSome.peers.requester)).toEqual([]);
  });

  it('is offered once by each hop', async () => {
    const { say, peers, puppet, request, served } = knowing(1, 3);
    for (const offers of [[], [offerOf(0), offerOf(0)]]) {
      await say(peers.first, { type: 'open', request: { ...request, ...changes }, offers });
    }
    expect(puppet(peers.requester).failures).toEqual(['bad-frame', 'bad-frame']);
    expect([served.activeRequests, served.counters.rejected]).toEqual([0, 2]);
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

  it.each([0, 16, 32])('is skipped up to %i, where the requester says so', async (start) => {
    const first = knowing(0, 2);
    await first.open(first.peers.requester, changes);
    await first.begin(first.peers.requester, [start, start, start]);
    await first.say(first.peers.requester, { type: 'inquire', requestId: requestId(1), epoch: 0, nonce: 1 });
    const state = first.heard(first.peers.requester).at(-1);
    expect(state).toMatchObject({ type: 'state', receivedUpTo: start, sentUpTo: start });
    await first.say(first.peers.requester, tokensFrame(start, promptIds.slice(start)));
    await first.say(first.peers.last, tokensFrame(50, [7]));
    expect(first.machine.sequences.get(requestId(1))?.computed).toBe(51);
    expect(first.machine.rowsComputed).toBe(51 - start);
    expect(first.heard(first.peers.middle)[1]).toEqual(beginFrame([start, start, start]));

    const last = knowing(2, 2);
    await last.open(last.peers.middle, changes, 48);
    await last.begin(last.peers.middle, [start, start, start]);
    await last.say(last.peers.middle, { type: 'inquire', requestId: requestId(1), epoch: 0, nonce: 1 });
    expect(last.heard(last.peers.middle).at(-1)).toMatchObject({ receivedUpTo: start, sentUpTo: start });

    const middle = knowing(1, 2);
    await middle.open(middle.peers.first, changes, 48);
    await middle.begin(middle.peers.first, [start, start, start]);
    await middle.say(middle.peers.first, rowsFrame(start, 5));
    await middle.say(middle.peers.first, rowsFrame(start + 5, 5));
    expect(middle.machine.sequences.get(requestId(1))?.computed).toBe(start + 10);
    expect(middle.served.counters.rejected).toBe(0);
  });

  const begins = (start: number) => beginFrame([start, start, start]);
  const wrong: Record<string, readonly [stage: 0 | 1, Frame[]]> = {
    'rows before it is said where they start': [1, [rowsFrame(0, 2)]],
    'a prompt before it is said where it starts': [0, [tokensFrame(0, promptIds)]],
    'a start beyond what was offered': [1, [begins(48)]],
    'starts of fewer hops than there are': [1, [beginFrame([16, 16])]],
    'starts of more hops than there are': [1, [beginFrame([16, 16, 16, 16])]],
    'a prompt behind its start': [0, [begins(16), tokensFrame(32, promptIds.slice(32))]],
    'a prompt before its start': [0, [begins(16), tokensFrame(0, promptIds)]],
    'a prompt that does not reach its end': [0, [begins(16), tokensFrame(16, promptIds.slice(16, 49))]],
    'a prompt past its end': [0, [begins(16), tokensFrame(16, [...promptIds.slice(16), 1])]],
    'rows behind the start': [1, [begins(16), rowsFrame(32, 2)]],
    'rows before the start': [1, [begins(16), rowsFrame(0, 2)]],
    'rows that skip a block later': [1, [begins(0), rowsFrame(0, 2), rowsFrame(16, 2)]],
  };
  it.each(Object.entries(wrong))('does not allow %s', async (_name, [stageIndex, frames]) => {
    const { open, say, peers, puppet, served } = knowing(stageIndex, 2);
    const upstream = stageIndex === 0 ? peers.requester : peers.first;
    await open(upstream, changes, 48);
    for (const frame of frames) await say(upstream, frame);
    expect(puppet(peers.requester).failures).toEqual(['bad-frame']);
    expect(served.activeRequests).toBe(0);
  });

  it('is agreed on once, and with the hop before only', async () => {
    const { open, begin, peers, heard, served, puppet } = knowing(1, 2);
    await open(peers.first, changes, 48);
    for (const who of ['requester', 'last', 'stranger'] as const) await begin(peers[who], [0, 0, 0]);
    expect(served.counters).toMatchObject({ rejected: 3, dropped: 0 });
    await begin(peers.first, [16, 16, 16]);
    await begin(peers.first, [0, 0, 0]);
    expect(served.counters).toMatchObject({ rejected: 3, dropped: 1 });
    expect(heard(peers.last).slice(1)).toEqual([begins(16)]);
    expect(puppet(peers.requester).failures).toEqual([]);
  });

  it('is named again by a close, here and down the route', async () => {
    const { open, say, peers, machine, heard } = knowing(1, 0);
    await open(peers.first, changes, 0);
    const named = [...blockHashes, 'f'.repeat(32)];
    await say(peers.first, { ...closeFrame, blockHashes: named });
    expect(machine.closedWith).toEqual([named]);
    expect(heard(peers.last).at(-1)).toEqual({ ...closeFrame, blockHashes: named });
  });

  it.each([true, false])(
    'is found over another way by the same request alone, unless it is doubted: %s',
    async (keepsCache) => {
      const { open, say, begin, peers, machine, request, heard } = knowing(1, 0);
      await open(peers.first, { promptTokens: 20, blockHashes: blockHashes.slice(0, 1) });
      await begin(peers.first, [0, 0, 0]);
      await say(peers.first, rowsFrame(0, 20));
      const hops = request.route.hops.map((hop, index) =>
        index === 0 ? { ...hop, peer: peers.stranger } : hop,
      );
      const route = { ...request.route, hops };
      await open(peers.stranger, { ...changes, keepsCache, route: { ...route, epoch: 1 } });
      expect(machine.closedWith).toEqual([keepsCache ? blockHashes : []]);
      // What was sent on is here too: it can be sent again.
      const offer = keepsCache ? { cachedTokens: 16, journalFrom: 0 } : offerOf(0);
      expect(heard(peers.last).at(-1)).toMatchObject({ type: 'open', offers: [offerOf(0), offer] });

      const found = async (id: number, hopsOf: typeof hops) => {
        const other = { ...request.route, requestId: requestId(id), hops: hopsOf };
        await open(hopsOf[0]?.peer ?? peers.first, { ...changes, route: other });
        const frame = heard(peers.last).at(-1);
        return frame?.type === 'open' ? frame.offers[1]?.cachedTokens : undefined;
      };
      expect(await found(2, hops)).toBe(0);
      expect(await found(3, request.route.hops)).toBe(16);
    },
  );

  it('that another way has is offered without what was sent of a doubted one', async () => {
    const { open, say, begin, peers, machine, request, heard } = knowing(1, 0);
    await open(peers.first, changes);
    await begin(peers.first, [0, 0, 0]);
    await say(peers.first, rowsFrame(0, 50));
    const hops = request.route.hops.map((hop, index) =>
      index === 0 ? { ...hop, peer: peers.stranger } : hop,
    );
    const route = { ...request.route, hops, epoch: 1 };
    for (const hash of blockHashes.slice(0, 2)) {
      machine.cache.set(`${cacheScope({ ...request, route }, 1)} ${hash}`, [1, 2]);
    }
    await open(peers.stranger, { ...changes, keepsCache: false, route });
    expect(heard(peers.last).at(-1)).toMatchObject({ type: 'open', offers: [offerOf(0), offerOf(32)] });
  });

  it('goes on with what was promised to the next hop, whatever else was sent meanwhile', async () => {
    const sizeOf50Rows = 50 * 2 * 2 + JOURNAL_PIECE_BYTES;
    const { open, say, begin, peers, request, puppet, served } = around(1, {
      maxJournalBytes: sizeOf50Rows + 100,
    });
    await open(peers.first, changes);
    await begin(peers.first, [0, 0, 0]);
    await say(peers.first, rowsFrame(0, 50));
    const route = { ...request.route, epoch: 1 };
    await open(peers.first, { ...changes, route });
    const other = { ...request.route, requestId: requestId(2) };
    await open(peers.first, { promptTokens: 50, route: other });
    const rows = { requestId: requestId(2), epoch: 0, position: 0, rows: 50, values: new Float32Array(100) };
    await say(peers.first, { type: 'activations', hiddenSize: 2, sequences: [rows] });
    expect(served.journalBytes).toBe(sizeOf50Rows);
    await say(peers.first, beginFrame([48, 48, 16], 1));
    const { replayedRows } = served.counters;
    const sentAgain = puppet(peers.last).heard.at(-1)?.frame;
    expect(replayedRows).toBe(32);
    expect(sentAgain).toMatchObject({
      type: 'activations',
      sequences: [{ epoch: 1, position: 16, rows: 32 }],
    });
  });

  it('is kept for the next epoch, by the hashes which that one brings', async () => {
    const { open, peers, machine, heard, request } = knowing(1, 0);
    await open(peers.first, { promptTokens: 20, blockHashes: blockHashes.slice(0, 1) });
    await open(peers.first, { ...changes, route: { ...request.route, epoch: 1 } });
    expect(machine.closedWith).toEqual([blockHashes]);
    expect(heard(peers.last)).toMatchObject([
      { type: 'open' },
      { type: 'open', request: { route: { epoch: 1 } } },
    ]);
  });
});

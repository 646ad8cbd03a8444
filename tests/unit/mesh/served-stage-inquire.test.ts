import { describe, expect, it } from 'vitest';
import type { Frame, FrameOf } from '../../../src/protocol/frames.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { peerId, Puppet, requestId, settled } from './local-mesh.ts';
import { LocalMesh } from './local-mesh.ts';
import { around, closeFrame, gatedTransport, PROMPT, rowsFrame, tokensFrame } from './stage-rig.ts';

const inquire = (nonce: number, epoch = 0): Frame => ({
  type: 'inquire',
  requestId: requestId(1),
  epoch,
  nonce,
});

function stateOf(hop: number, nonce: number): FrameOf<'state'> {
  const position = { receivedUpTo: 4, sentUpTo: 3 };
  return {
    type: 'state',
    requestId: requestId(1),
    epoch: 0,
    nonce,
    hop,
    ...position,
    steps: 5,
    typicalStepMs: 6,
  };
}

const statesHeard = (puppet: Puppet, from?: PeerId) =>
  puppet.heard.flatMap((entry) => {
    return entry.frame.type === 'state' && (from ?? entry.from) === entry.from ? [entry.frame] : [];
  });

describe('how far a request is', () => {
  it('is answered at once by every hop, and passed on to the requester', async () => {
    const mesh = new LocalMesh(3);
    const requester = new Puppet(mesh.hub.transport(mesh.requester));
    const request = mesh.request(PROMPT.length, 10);
    await requester.say(peerId(1), { type: 'open', request, offers: [] });
    await requester.say(peerId(1), inquire(7));
    const hops = statesHeard(requester, peerId(1)).map(({ hop, nonce, receivedUpTo, sentUpTo }) => {
      return [hop, nonce, receivedUpTo, sentUpTo];
    });
    expect(hops).toEqual([
      [0, 7, 0, 0],
      [1, 7, 0, 0],
      [2, 7, 0, 0],
    ]);
    // The ring is cut where the last hop would close it: three rows went in, and one token came of them.
    const last = mesh.stage(2);
    last.machine.tamper = (outputs) => {
      mesh.hub.remove(peerId(3));
      return outputs;
    };
    await requester.say(peerId(1), tokensFrame(0, PROMPT));
    await settled();
    await requester.say(peerId(1), inquire(8));
    const [first, middle] = statesHeard(requester, peerId(1)).slice(3);
    expect(first).toMatchObject({
      hop: 0,
      nonce: 8,
      receivedUpTo: 3,
      sentUpTo: 3,
      steps: 1,
      typicalStepMs: 1,
    });
    // It has failed there, and says all the same how far it came.
    expect(middle).toMatchObject({ hop: 1, receivedUpTo: 3, sentUpTo: 3 });
    expect(requester.failures).toEqual(['peer-lost']);
  });

  it('is what came and what was handed on', async () => {
    const gate = gatedTransport();
    const { peers, open, say, puppet } = around(1, { wrap: gate.wrap });
    gate.close(peers.last);
    await open(peers.first);
    await say(peers.first, rowsFrame(0, 2));
    await say(peers.first, inquire(1));
    expect(statesHeard(puppet(peers.first))).toMatchObject([{ receivedUpTo: 2, sentUpTo: 0, steps: 0 }]);
    gate.open();
    await settled();
    await say(peers.first, inquire(2));
    expect(statesHeard(puppet(peers.first)).at(-1)).toMatchObject({ receivedUpTo: 2, sentUpTo: 2, steps: 1 });
  });

  it('is at the last hop the row that its last token came from', async () => {
    const { peers, open, say, puppet } = around(2);
    await open(peers.middle);
    await say(peers.middle, rowsFrame(0, 2));
    await say(peers.middle, inquire(1));
    await say(peers.middle, rowsFrame(2, 1));
    await say(peers.middle, inquire(2));
    expect(statesHeard(puppet(peers.middle))).toMatchObject([
      { hop: 2, receivedUpTo: 2, sentUpTo: 0 },
      { hop: 2, receivedUpTo: 3, sentUpTo: 3 },
    ]);
  });

  it('is asked by the hop before only, once with each nonce, and of a request that is open', async () => {
    const { peers, open, say, puppet, served } = around(1);
    await open(peers.first);
    for (const who of ['requester', 'last', 'stranger'] as const) await say(peers[who], inquire(1));
    expect(served.counters.rejected).toBe(3);
    await say(peers.first, inquire(1));
    await say(peers.first, inquire(1));
    await say(peers.first, inquire(1, 1));
    expect(served.counters).toMatchObject({ rejected: 3, dropped: 2 });
    expect(statesHeard(puppet(peers.first))).toHaveLength(1);
    expect(puppet(peers.last).heard.filter(({ frame }) => frame.type === 'inquire')).toHaveLength(1);
    await say(peers.first, closeFrame);
    await say(peers.first, inquire(2));
    expect(statesHeard(puppet(peers.first))).toHaveLength(1);
  });

  it('is passed on from the next hop only: of hops behind this one, once each, in answer to what was asked', async () => {
    const { peers, open, say, puppet, served } = around(0);
    await open(peers.requester);
    await say(peers.requester, inquire(1));
    const wrong: [PeerId, Frame][] = [
      [peers.middle, stateOf(0, 1)],
      [peers.middle, stateOf(3, 1)],
      [peers.middle, stateOf(2, 2)],
      [peers.middle, { ...stateOf(2, 1), epoch: 1 }],
      [peers.middle, { ...stateOf(2, 1), requestId: requestId(2) }],
      [peers.last, stateOf(2, 1)],
      [peers.stranger, stateOf(1, 1)],
    ];
    for (const [who, frame] of wrong) await say(who, frame);
    expect(statesHeard(puppet(peers.requester))).toHaveLength(1);
    for (const hop of [1, 1, 2, 2]) await say(peers.middle, stateOf(hop, 1));
    expect(statesHeard(puppet(peers.requester)).slice(1)).toEqual([stateOf(1, 1), stateOf(2, 1)]);
    // On a peer that has a request of its own they may be for that.
    expect(served.counters).toMatchObject({ rejected: 0, dropped: 0 });
  });
});

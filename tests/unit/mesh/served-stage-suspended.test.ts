import { describe, expect, it } from 'vitest';
import { JOURNAL_PIECE_BYTES } from '../../../src/mesh/journal.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { Frame } from '../../../src/protocol/frames.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { SUSPENDED_SEQUENCE_MS } from '../../../src/protocol/limits.ts';
import { chainOf, requestId, settled } from './local-mesh.ts';
import { around, beginFrame, gatedTransport, rowsFrame } from './stage-rig.ts';

const PROMPT_TOKENS = 50;
const promptIds = Array.from({ length: PROMPT_TOKENS }, (_, index) => index * 3);
const changes = { promptTokens: PROMPT_TOKENS, blockHashes: [...chainOf(promptIds).hashes] };
const ALL_ROWS_BYTES = PROMPT_TOKENS * 2 * 2 + JOURNAL_PIECE_BYTES;

/** A middle hop that was told to start, and is to be sent rows. */
async function begun(options: Parameters<typeof around>[1] = {}) {
  const rig = around(1, options);
  await rig.open(rig.peers.first, changes);
  await rig.begin(rig.peers.first, [0, 0, 0]);
  const reopen = (epoch: number) =>
    rig.open(rig.peers.first, { ...changes, route: { ...rig.request.route, epoch } });
  const heard = (who: PeerId) => rig.puppet(who).heard.map(({ frame }) => frame);
  /** What this hop offered in the last request that it passed on to that one. */
  const lastOffer = (next: PeerId) => {
    const opens = heard(next).filter((frame) => frame.type === 'open');
    return opens.at(-1)?.offers[1];
  };
  return { ...rig, reopen, heard, lastOffer };
}

function otherRows(rows: number): Frame {
  const values = new Float32Array(rows * 2);
  const sequence = { requestId: requestId(2), epoch: 0, position: 0, rows, values };
  return { type: 'activations', hiddenSize: 2, sequences: [sequence] };
}

describe('a request that failed elsewhere', () => {
  it('is computed as far as it was fed, and nothing of that is sent before somebody wants it', async () => {
    const { mesh, peers, say, open, request, machine, heard, lastOffer } = await begun({ chunkRows: 10 });
    machine.tamper = (outputs) => {
      if (machine.rowsComputed === 20) mesh.hub.remove(peers.first);
      return outputs;
    };
    await say(peers.first, rowsFrame(0, PROMPT_TOKENS));
    await settled();
    expect(machine.rowsComputed).toBe(PROMPT_TOKENS);
    const sent = heard(peers.last).filter(({ type }) => type === 'activations');
    expect(sent).toHaveLength(1);
    machine.tamper = (outputs) => outputs;
    const hops = request.route.hops.map((hop, index) =>
      index === 0 ? { ...hop, peer: peers.stranger } : hop,
    );
    await open(peers.stranger, { ...changes, route: { ...request.route, hops, epoch: 1 } });
    expect(lastOffer(peers.last)).toEqual({ cachedTokens: 48, journalFrom: 0 });
  });

  it('is told of once, whatever else is lost with it', async () => {
    const { mesh, peers, puppet, served } = await begun();
    mesh.hub.remove(peers.last);
    mesh.hub.remove(peers.first);
    await settled();
    expect(puppet(peers.requester).failures).toEqual(['peer-lost']);
    expect(served.suspendedRequests).toBe(1);
  });

  it('is not told of to who is gone when it is over', async () => {
    const sent: PeerId[] = [];
    const { mesh, peers, served } = await begun({
      wrap: (transport) => ({
        self: transport.self,
        onFrame: (listener) => transport.onFrame(listener),
        onPeerLost: (listener) => transport.onPeerLost(listener),
        reject: (from, reason) => transport.reject(from, reason),
        send: (to, frame) => {
          sent.push(to);
          return transport.send(to, frame);
        },
      }),
    });
    mesh.hub.remove(peers.last);
    await settled();
    sent.length = 0;
    mesh.clock.advance(SUSPENDED_SEQUENCE_MS);
    await settled();
    expect([served.suspendedRequests, sent]).toEqual([0, []]);
  });

  it('holds a promised journal no longer than it runs', async () => {
    const { mesh, peers, say, open, request, reopen, served, lastOffer } = await begun({
      maxJournalBytes: ALL_ROWS_BYTES + 100,
    });
    await say(peers.first, rowsFrame(0, PROMPT_TOKENS));
    await reopen(1);
    mesh.hub.remove(peers.last);
    await settled();
    expect(served.suspendedRequests).toBe(1);
    const hops = request.route.hops.map((hop, index) =>
      index === 2 ? { ...hop, peer: peers.stranger } : hop,
    );
    const route = { ...request.route, requestId: requestId(2), hops };
    await open(peers.first, { ...changes, route });
    await say(peers.first, { type: 'begin', requestId: requestId(2), epoch: 0, starts: [0, 0, 0] });
    await say(peers.first, otherRows(PROMPT_TOKENS));
    await open(peers.first, { ...changes, route: { ...route, epoch: 1 } });
    expect(lastOffer(peers.stranger)).toEqual({ cachedTokens: 48, journalFrom: 0 });
  });

  it('is sent again in the very values that were sent, also where one of them made all of them travel whole', async () => {
    const { peers, say, machine, reopen, heard } = await begun();
    const valueAt = (index: number) => Math.fround(index === PROMPT_TOKENS * 2 - 1 ? 1e6 : 0.1);
    machine.tamper = (outputs) =>
      outputs.map((output) =>
        output.kind === 'activations'
          ? { ...output, values: output.values.map((_, index) => valueAt(index)) }
          : output,
      );
    await say(peers.first, rowsFrame(0, PROMPT_TOKENS));
    await reopen(1);
    await say(peers.first, beginFrame([48, 48, 0], 1));
    const replayed = heard(peers.last).at(-1);
    expect(replayed).toMatchObject({ type: 'activations', sequences: [{ epoch: 1, position: 0, rows: 48 }] });
    const values = replayed?.type === 'activations' ? [...(replayed.sequences[0]?.values ?? [])] : [];
    expect(values).toEqual(Array.from({ length: 96 }, (_, index) => valueAt(index)));
  });

  it('that is taken over in the middle of being sent again keeps what was promised to the next', async () => {
    const gate = gatedTransport();
    const { peers, say, open, request, reopen, served, heard } = await begun({
      wrap: gate.wrap,
      maxJournalBytes: ALL_ROWS_BYTES + 100,
    });
    await say(peers.first, rowsFrame(0, PROMPT_TOKENS));
    await reopen(1);
    gate.close(peers.last);
    await say(peers.first, beginFrame([48, 48, 0], 1));
    await reopen(2);
    gate.open();
    await settled();
    await open(peers.first, {
      promptTokens: PROMPT_TOKENS,
      route: { ...request.route, requestId: requestId(2) },
    });
    await say(peers.first, otherRows(PROMPT_TOKENS));
    await say(peers.first, beginFrame([48, 48, 0], 2));
    expect(heard(peers.last).at(-1)).toMatchObject({ sequences: [{ epoch: 2, position: 0, rows: 48 }] });
    expect(served.suspendedRequests).toBe(0);
  });
});

describe('a request that failed here', () => {
  it.each([
    ['busy', 1],
    ['out-of-memory', 1],
    ['internal', 0],
    ['device-lost', 0],
  ] as const)('of %s is kept by so many: %i', async (code, kept) => {
    const { peers, say, machine, served, heard } = await begun();
    machine.tamper = (outputs) =>
      outputs.map(({ requestId: id }) => {
        return { kind: 'failed', requestId: id, error: new SkeinError(code, 'It went wrong.') };
      });
    await say(peers.first, rowsFrame(0, PROMPT_TOKENS));
    expect([served.activeRequests, served.suspendedRequests]).toEqual([0, kept]);
    expect(heard(peers.last).some(({ type }) => type === 'close')).toBe(kept === 0);
  });

  it('because the stage stops, is left alone by that behind it', async () => {
    const { peers, served, heard, puppet } = await begun();
    served.dispose();
    await settled();
    expect(puppet(peers.requester).failures).toEqual(['peer-lost']);
    expect(heard(peers.last).map(({ type }) => type)).toEqual(['open', 'begin']);
  });
});

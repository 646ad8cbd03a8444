import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { splitFrame } from '../../../src/mesh/framing.ts';
import { encodeFrame, peekFrameType } from '../../../src/protocol/frame-codec.ts';
import type { Frame } from '../../../src/protocol/frames.ts';
import {
  SEQUENCE_IDLE_TIMEOUT_MS,
  SEQUENCE_UNFED_TIMEOUT_MS,
  SUSPENDED_SEQUENCE_MS,
} from '../../../src/protocol/limits.ts';
import type { OpenRequest } from '../../../src/protocol/stage.ts';
import { anyFrame } from '../protocol/frame-arbitraries.ts';
import { expectedTokens } from './adding-machine.ts';
import { EPOCH_KEYS } from '../../fixtures/epoch-keys.ts';
import { LocalMesh, peerId, requestId, settled } from './local-mesh.ts';
import { around, closeFrame, gatedTransport, PROMPT, rowsFrame, tokensFrame } from './stage-rig.ts';

describe('opening', () => {
  it('is for the peer before, for exactly the layers served, and is passed on', async () => {
    const { served, open, peers, puppet, hop } = around(1);
    await open(peers.first);
    expect(served.activeRequests).toBe(1);
    expect(puppet(peers.last).heardTypes(hop.peer)).toEqual(['open']);
  });

  it.each(['requester', 'last', 'stranger'] as const)('is not for the %s', async (who) => {
    const { served, machine, open, peers, puppet } = around(1);
    await open(peers[who]);
    expect(served.counters).toMatchObject({ rejected: 1 });
    expect(machine.sequences.size).toBe(0);
    expect(puppet(peers.requester).heard).toEqual([]);
  });

  it('of other layers, or another model, fails in words: the peer has moved on', async () => {
    for (const change of [
      { model: 'other' as OpenRequest['route']['model'] },
      {
        hops: [
          { peer: peerId(1), layerStart: 0, layerEnd: 2 },
          { peer: peerId(2), layerStart: 2, layerEnd: 3 },
          { peer: peerId(3), layerStart: 3, layerEnd: 4 },
        ],
      },
    ]) {
      const { served, open, peers, puppet, request, hop } = around(1);
      await open(peers.first, { route: { ...request.route, ...change } });
      expect(served.activeRequests).toBe(0);
      expect(puppet(peers.requester).heard[0]?.frame).toMatchObject({
        type: 'failed',
        error: { code: 'peer-lost', data: { peer: hop.peer } },
      });
    }
  });

  it('twice at the same epoch changes nothing', async () => {
    const { served, open, peers, say } = around(0);
    await open(peers.requester);
    await say(peers.requester, tokensFrame(0, PROMPT));
    await open(peers.requester);
    expect(served.counters).toMatchObject({ dropped: 1, rejected: 0 });
    expect(served.activeRequests).toBe(1);
  });

  it('at a later epoch by another requester is refused, and the request goes on', async () => {
    const { served, open, peers, request, machine } = around(0);
    await open(peers.requester);
    await open(peers.stranger, { requester: peers.stranger, route: { ...request.route, epoch: 1 } });
    expect(served.counters.rejected).toBe(1);
    expect(machine.sequences.get(requestId(1))?.request.requester).toBe(peers.requester);
  });

  it('at a later epoch is for who knows its key: a hop of the earlier one does not', async () => {
    const { served, open, peers, request, machine, mesh, puppet } = around(1);
    await open(peers.first);
    const hops = request.route.hops.map((hop, index) =>
      index === 0 ? { ...hop, peer: peers.stranger } : hop,
    );
    for (const [epoch, epochKey] of [
      [1, EPOCH_KEYS.at(0)],
      [1, EPOCH_KEYS.at(2)],
      [2, EPOCH_KEYS.at(1)],
      [0xffff, EPOCH_KEYS.at(1023)],
    ] as const) {
      await open(peers.stranger, { epochKey, route: { ...request.route, hops, epoch } });
    }
    expect([served.counters.rejected, mesh.hub.rejectedFrom(peers.stranger)]).toEqual([4, 4]);
    expect(machine.sequences.get(requestId(1))?.request.route.epoch).toBe(0);
    expect(puppet(peers.requester).failures).toEqual([]);
    await open(peers.stranger, { route: { ...request.route, hops, epoch: 7 } });
    expect(machine.sequences.get(requestId(1))?.request.route.epoch).toBe(7);
  });

  it.each([true, false])(
    'at a later epoch lets the next hop go, and those behind it if none is left: %s',
    async (isLeft) => {
      const { open, peers, request, puppet, hop } = around(0);
      await open(peers.requester);
      const [first, , last] = request.route.hops;
      if (!first || !last) throw new Error('a route of three hops');
      const rest = isLeft
        ? [{ peer: peers.stranger, layerStart: 1, layerEnd: 3 }, last]
        : [{ peer: peers.stranger, layerStart: 1, layerEnd: 4 }];
      await open(peers.requester, { route: { ...request.route, epoch: 1, hops: [first, ...rest] } });
      expect(puppet(peers.middle).heard.at(-1)).toMatchObject({
        from: hop.peer,
        frame: { type: 'close', epoch: 0, isMoved: isLeft },
      });
      expect(puppet(peers.stranger).heardTypes(hop.peer)).toEqual(['open']);
    },
  );

  it('on a full stage is answered with busy, and frees nothing of others', async () => {
    const { served, open, peers, puppet, request } = around(0, { maxRequests: 1 });
    await open(peers.requester);
    await open(peers.requester, { route: { ...request.route, requestId: requestId(2) } });
    expect(puppet(peers.requester).failures).toEqual(['busy']);
    expect(served.activeRequests).toBe(1);
  });
});

describe('tokens', () => {
  it('come once as the prompt, and then one by one from the last hop', async () => {
    const { served, peers, open, say, machine } = around(0);
    await open(peers.requester);
    await say(peers.requester, tokensFrame(0, PROMPT));
    await say(peers.last, tokensFrame(3, [8]));
    await say(peers.last, tokensFrame(4, [9]));
    expect(machine.sequences.get(requestId(1))?.computed).toBe(5);
    expect(served.counters.rejected).toBe(0);
  });

  const wrong: Record<string, [who: 'requester' | 'last', Frame][]> = {
    'a prompt that is too short': [['requester', tokensFrame(0, [1])]],
    'a prompt that is too long': [['requester', tokensFrame(0, [1, 2, 3, 4])]],
    'a prompt at another position': [['requester', tokensFrame(1, PROMPT)]],
    'a prompt from the ring': [['last', tokensFrame(0, PROMPT)]],
    'a next token from the requester': [
      ['requester', tokensFrame(0, PROMPT)],
      ['requester', tokensFrame(3, [1])],
    ],
    'a token too far': [
      ['requester', tokensFrame(0, PROMPT)],
      ['last', tokensFrame(4, [1])],
    ],
    'a token again, and one more': [
      ['requester', tokensFrame(0, PROMPT)],
      ['last', tokensFrame(3, [1])],
      ['last', tokensFrame(3, [1, 2])],
    ],
    'two tokens at once': [
      ['requester', tokensFrame(0, PROMPT)],
      ['last', tokensFrame(3, [1, 2])],
    ],
  };
  it.each(Object.entries(wrong))('fail the request here, and later downstream: %s', async (_name, frames) => {
    const { served, machine, peers, open, say, puppet, hop, mesh } = around(0);
    await open(peers.requester);
    for (const [who, frame] of frames) await say(peers[who], frame);
    expect(puppet(peers.requester).failures).toEqual(['bad-frame']);
    expect(puppet(peers.middle).heardTypes(hop.peer)).not.toContain('close');
    expect([served.activeRequests, served.suspendedRequests, served.counters.rejected]).toEqual([0, 1, 1]);
    mesh.clock.advance(SUSPENDED_SEQUENCE_MS);
    await settled();
    expect(puppet(peers.middle).heardTypes(hop.peer).at(-1)).toBe('close');
    expect([served.suspendedRequests, machine.sequences.size, mesh.clock.pendingTimers]).toEqual([0, 0, 0]);
    expect(puppet(peers.requester).failures).toEqual(['bad-frame']);
  });

  it('that came before are dropped and counted, and change nothing', async () => {
    const { served, peers, open, say, puppet, machine } = around(0);
    await open(peers.requester);
    await say(peers.requester, tokensFrame(0, PROMPT));
    await say(peers.requester, tokensFrame(0, PROMPT));
    await say(peers.last, tokensFrame(3, [1]));
    await say(peers.last, tokensFrame(3, [1]));
    await say(peers.last, tokensFrame(4, [2]));
    expect(served.counters).toMatchObject({ dropped: 2, rejected: 0 });
    expect(puppet(peers.requester).failures).toEqual([]);
    expect(machine.rowsComputed).toBe(5);
  });

  it('of strangers, of another hop or of another epoch are counted and change nothing', async () => {
    const { served, peers, open, say, puppet, machine } = around(0);
    await open(peers.requester);
    await say(peers.stranger, tokensFrame(0, PROMPT));
    await say(peers.middle, tokensFrame(0, PROMPT));
    await say(peers.requester, tokensFrame(0, PROMPT, 1));
    await say(peers.stranger, closeFrame);
    await say(peers.last, closeFrame);
    expect(served.counters).toMatchObject({ rejected: 4, dropped: 1, steps: 0 });
    expect(puppet(peers.requester).failures).toEqual([]);
    expect(machine.sequences.size).toBe(1);
  });

  it('past the announced end fail the request', async () => {
    const { peers, open, say, puppet, machine } = around(0);
    await open(peers.requester, { maxTokens: 3 });
    await say(peers.requester, tokensFrame(0, PROMPT));
    await say(peers.last, tokensFrame(3, [1]));
    await say(peers.last, tokensFrame(4, [1]));
    expect(machine.sequences.get(requestId(1))?.computed).toBe(5);
    await say(peers.last, tokensFrame(5, [1]));
    expect(puppet(peers.requester).failures).toEqual(['bad-frame']);
  });
});

describe('activations', () => {
  it('come from the hop before, in order, and go on to the next', async () => {
    const { peers, open, say, puppet, hop, served } = around(1);
    await open(peers.first);
    await say(peers.first, rowsFrame(0, 2));
    await say(peers.first, rowsFrame(2, 1));
    expect(puppet(peers.last).heardTypes(hop.peer)).toEqual(['open', 'activations', 'activations']);
    expect(served.counters).toMatchObject({ rejected: 0, steps: 2 });
  });

  const wrong: Record<string, Frame[]> = {
    'a gap': [rowsFrame(1, 1)],
    'an overlap': [rowsFrame(0, 2), rowsFrame(1, 2)],
    'more rows than announced': [rowsFrame(0, 13)],
  };
  it.each(Object.entries(wrong))('fail the request: %s', async (_name, frames) => {
    const { peers, open, say, puppet, served, hop, mesh } = around(1);
    await open(peers.first);
    for (const frame of frames) await say(peers.first, frame);
    expect(puppet(peers.requester).failures).toEqual(['bad-frame']);
    expect([served.activeRequests, served.suspendedRequests]).toEqual([0, 1]);
    expect(mesh.hub.rejectedFrom(peers.first)).toBe(1);
    expect(puppet(peers.last).heardTypes(hop.peer)).not.toContain('close');
  });

  it('that came before are dropped and counted, and change nothing', async () => {
    const { peers, open, say, puppet, served, machine } = around(1);
    await open(peers.first);
    for (const frame of [rowsFrame(0, 2), rowsFrame(0, 2), rowsFrame(1, 1), rowsFrame(2, 1)]) {
      await say(peers.first, frame);
    }
    expect(served.counters).toMatchObject({ dropped: 2, rejected: 0 });
    expect(puppet(peers.requester).failures).toEqual([]);
    expect(machine.rowsComputed).toBe(3);
  });

  it('of others are counted and change nothing', async () => {
    const { peers, open, say, puppet, served } = around(1);
    await open(peers.first);
    for (const who of ['requester', 'last', 'stranger'] as const) await say(peers[who], rowsFrame(0, 1));
    await say(peers.first, tokensFrame(0, PROMPT));
    expect(served.counters).toMatchObject({ rejected: 4, steps: 0 });
    expect(puppet(peers.requester).failures).toEqual([]);
  });

  it('that are damaged end what their sender feeds, and nothing else', async () => {
    const { peers, open, say, puppet, served, hop, request } = around(1);
    await open(peers.first);
    const otherRoute = {
      ...request.route,
      requestId: requestId(2),
      hops: request.route.hops.map((other, index) =>
        index === 0 ? { ...other, peer: peers.stranger } : other,
      ),
    };
    await open(peers.stranger, { route: otherRoute });
    expect(served.activeRequests).toBe(2);
    const damaged = encodeFrame(rowsFrame(0, 1), 'f32');
    new DataView(damaged.buffer).setFloat32(damaged.length - 4, NaN, true);
    await puppet(peers.first).sayBytes(hop.peer, damaged);
    expect(puppet(peers.requester).heard.map(({ frame }) => frame)).toMatchObject([
      { type: 'failed', requestId: requestId(1), error: { code: 'bad-frame', data: { peer: peers.first } } },
    ]);
    expect(served.activeRequests).toBe(1);
    const closeOther = { ...closeFrame, requestId: requestId(2) };
    await say(peers.first, closeOther);
    expect(served.activeRequests).toBe(1);
    await say(peers.stranger, closeOther);
    expect([served.activeRequests, served.suspendedRequests]).toEqual([0, 1]);
  });
});

describe('a stage', () => {
  it.each([256, 4096])(
    'spends at most 64 bytes beside the values of a token of width %i',
    async (hiddenSize) => {
      const messages: number[] = [];
      const { peers, open, say, machine } = around(0, {
        wrap: (transport) => ({
          self: transport.self,
          onFrame: (listener) => transport.onFrame(listener),
          onPeerLost: (listener) => transport.onPeerLost(listener),
          reject: (from, reason) => transport.reject(from, reason),
          async send(to, frame) {
            if (peekFrameType(frame) === 'activations') {
              for (const message of splitFrame(frame)) messages.push(message.length);
            }
            await transport.send(to, frame);
          },
        }),
      });
      machine.tamper = (outputs) =>
        outputs.map((output) => {
          if (output.kind !== 'activations') return output;
          return { ...output, values: new Float32Array(output.rows * hiddenSize).fill(0.1) };
        });
      await open(peers.requester);
      await say(peers.requester, tokensFrame(0, PROMPT));
      messages.length = 0;
      await say(peers.last, tokensFrame(3, [1]));
      expect(messages).toHaveLength(1);
      expect(messages[0]).toBeGreaterThan(hiddenSize * 2);
      expect(messages[0]).toBeLessThanOrEqual(hiddenSize * 2 + 64);
    },
  );

  it('sends one frame per next peer and step, with many requests in it', async () => {
    const { peers, puppet, hop, request, machine, say } = around(0);
    for (let index = 1; index <= 20; index += 1) {
      await say(peers.requester, {
        type: 'open',
        request: { ...request, route: { ...request.route, requestId: requestId(index) } },
        offers: [],
      });
    }
    const sequences = Array.from({ length: 20 }, (_, index) => {
      return { requestId: requestId(index + 1), epoch: 0, position: 0, tokenIds: Uint32Array.from(PROMPT) };
    });
    await say(peers.requester, { type: 'tokens', sequences });
    expect(machine.largestBatch).toBe(20);
    const frames = puppet(peers.middle).heard.filter(({ from, frame }) => {
      return from === hop.peer && frame.type === 'activations';
    });
    expect(frames.map(({ frame }) => frame.type === 'activations' && frame.sequences.length)).toEqual([20]);
  });

  it('sends a token to the requester and to the first hop, and the last one to the requester only', async () => {
    const { peers, open, say, puppet, hop } = around(2);
    await open(peers.middle, { maxTokens: 2 });
    await say(peers.middle, rowsFrame(0, 3));
    await say(peers.middle, rowsFrame(3, 1));
    expect(puppet(peers.requester).heardTypes(hop.peer)).toEqual(['sampled', 'sampled']);
    expect(puppet(peers.first).heardTypes(hop.peer)).toEqual(['tokens']);
  });

  it('fails requests whose computation fails or yields no numbers, alone', async () => {
    for (const fault of ['failed', 'NaN'] as const) {
      const whole = new LocalMesh(3);
      whole.stage(1).machine.tamper = (outputs) =>
        outputs.map((output) => {
          if (output.requestId !== requestId(2) || output.kind !== 'activations') return output;
          if (fault === 'NaN') return { ...output, values: output.values.map(() => NaN) };
          return {
            kind: 'failed',
            requestId: output.requestId,
            error: new SkeinError('out-of-memory', 'full'),
          };
        });
      const [good, bad] = await Promise.allSettled([
        whole.generate(PROMPT, 5),
        whole.generate(PROMPT, 5, { requestId: requestId(2) }),
      ]);
      expect(good).toEqual({ status: 'fulfilled', value: expectedTokens(PROMPT, whole.layerCount, 5) });
      expect(bad).toMatchObject({
        reason: { code: fault === 'NaN' ? 'internal' : 'out-of-memory', data: { peer: peerId(2) } },
      });
      await settled();
      expect(whole.openRequests).toBe(0);
    }
  });

  it('fails a route that ends before the model does', async () => {
    const { peers, open, say, request, puppet } = around(0);
    await open(peers.requester, { route: { ...request.route, hops: request.route.hops.slice(0, 1) } });
    await say(peers.requester, tokensFrame(0, PROMPT));
    expect(puppet(peers.requester).failures).toEqual(['bad-argument']);
  });

  it('frees a request that nobody feeds, and tells both sides', async () => {
    const { mesh, peers, open, say, puppet, hop, served, machine } = around(1);
    await open(peers.first);
    mesh.clock.advance(SEQUENCE_UNFED_TIMEOUT_MS - 1);
    await say(peers.first, rowsFrame(0, 1));
    mesh.clock.advance(SEQUENCE_IDLE_TIMEOUT_MS - 1);
    expect(served.activeRequests).toBe(1);
    mesh.clock.advance(1);
    await settled();
    expect(puppet(peers.requester).failures).toEqual(['timeout']);
    expect(puppet(peers.last).heardTypes(hop.peer).at(-1)).toBe('close');
    expect([served.activeRequests, machine.sequences.size, mesh.clock.pendingTimers]).toEqual([0, 0, 0]);
  });

  it('frees one that was never fed much sooner, unless somebody asks after it', async () => {
    const { mesh, peers, open, say, puppet, served } = around(1);
    await open(peers.first);
    for (const nonce of [1, 2, 3]) {
      mesh.clock.advance(SEQUENCE_UNFED_TIMEOUT_MS - 1);
      await say(peers.first, { type: 'inquire', requestId: requestId(1), epoch: 0, nonce });
    }
    expect(served.activeRequests).toBe(1);
    mesh.clock.advance(SEQUENCE_UNFED_TIMEOUT_MS);
    await settled();
    expect(served.activeRequests).toBe(0);
    expect(puppet(peers.requester).failures).toEqual(['timeout']);
  });

  it('counts what it is fed as a sign of life, computed or not', async () => {
    const gate = gatedTransport();
    const { mesh, peers, open, say, served } = around(1, { wrap: gate.wrap });
    gate.close(peers.last);
    await open(peers.first);
    mesh.clock.advance(SEQUENCE_UNFED_TIMEOUT_MS - 1);
    await say(peers.first, rowsFrame(0, 1));
    mesh.clock.advance(SEQUENCE_IDLE_TIMEOUT_MS - 1);
    expect(served.counters.steps).toBe(0);
    expect(served.activeRequests).toBe(1);
  });

  it('ends a request when the ring cannot be closed any more', async () => {
    const { mesh, peers, open, say, puppet, served } = around(2);
    await open(peers.middle);
    await say(peers.middle, rowsFrame(0, 3));
    mesh.hub.remove(peers.first);
    await settled();
    expect([served.activeRequests, served.suspendedRequests]).toEqual([0, 1]);
    expect(puppet(peers.requester).failures).toEqual(['peer-lost']);
  });

  it.each(['first', 'last', 'requester'] as const)(
    'lets go of a request when the %s vanishes',
    async (who) => {
      const { mesh, peers, open, say, puppet, hop, served, machine } = around(1);
      await open(peers.first);
      // A link with the requester exists only if something was said over it.
      await say(peers.requester, closeFrame);
      mesh.hub.remove(peers[who]);
      await settled();
      // It may go on over others, or with a requester whose link alone broke, and what is here waits for that.
      const held = [served.activeRequests, served.suspendedRequests, machine.sequences.size];
      expect(held).toEqual([0, 1, 1]);
      expect(puppet(peers.requester).failures).toEqual(who === 'requester' ? [] : ['peer-lost']);
      expect(puppet(peers.last).heardTypes(hop.peer)).toEqual(['open']);
      mesh.clock.advance(SUSPENDED_SEQUENCE_MS - 1);
      expect(served.suspendedRequests).toBe(1);
      mesh.clock.advance(1);
      await settled();
      expect([served.suspendedRequests, machine.sequences.size, mesh.clock.pendingTimers]).toEqual([0, 0, 0]);
      expect(puppet(peers.last).heardTypes(hop.peer)).toEqual(who === 'last' ? ['open'] : ['open', 'close']);
    },
  );

  it('tells requesters when it stops, and then leaves them alone', async () => {
    const { peers, open, say, puppet, served, machine } = around(1);
    await open(peers.first);
    served.dispose();
    served.dispose();
    await settled();
    await open(peers.first);
    await say(peers.first, rowsFrame(0, 1));
    expect(puppet(peers.requester).failures).toEqual(['peer-lost']);
    expect(machine.sequences.size).toBe(0);
  });

  it('tells requesters that its device is gone, and that it was this peer', async () => {
    const { peers, open, puppet, hop, served } = around(1);
    await open(peers.first);
    served.dispose(new SkeinError('device-lost', 'driver reset', { data: { reason: 'unknown' } }));
    await settled();
    expect(puppet(peers.requester).heard.at(-1)?.frame).toMatchObject({
      type: 'failed',
      error: { code: 'device-lost', data: { peer: hop.peer, reason: 'unknown' } },
    });
  });

  it('feeds nothing to the engine before the next hop can be reached, and all of it then', async () => {
    const gate = gatedTransport();
    const { peers, open, say, served, puppet, hop } = around(1, { wrap: gate.wrap });
    gate.close(peers.last);
    await open(peers.first);
    await say(peers.first, rowsFrame(0, 1));
    await say(peers.first, rowsFrame(1, 1));
    expect(served.counters.steps).toBe(0);
    gate.open();
    await settled();
    expect(puppet(peers.last).heardTypes(hop.peer)).toEqual(['open', 'activations']);
  });

  it('waits for a slow next hop with its steps, but never for a requester', async () => {
    const gate = gatedTransport();
    const { peers, open, say, served } = around(1, { wrap: gate.wrap });
    await open(peers.first);
    gate.close(peers.last);
    for (let position = 0; position < 4; position += 1) await say(peers.first, rowsFrame(position, 1));
    expect(served.counters.steps).toBe(1);
    gate.open();
    await settled();
    expect(served.counters.steps).toBe(2);

    const last = around(2, { wrap: gate.wrap });
    await last.open(peers.middle);
    gate.close(peers.requester);
    for (let position = 0; position < 4; position += 1) await last.say(peers.middle, rowsFrame(position, 1));
    expect(last.served.counters.steps).toBe(4);
  });

  it('stays up and clean under any flood of frames', async () => {
    const senders = fc.constantFrom('requester', 'first', 'last', 'stranger' as const);
    const bytes = fc.oneof(
      anyFrame.map((frame) => encodeFrame(frame, 'f16')),
      fc.uint8Array({ maxLength: 60 }).map((random) => Uint8Array.from(random)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(senders, bytes), { maxLength: 30 }), async (flood) => {
        const { served, peers, mesh, puppet, hop } = around(1);
        for (const [who, frame] of flood) await puppet(peers[who]).sayBytes(hop.peer, frame);
        expect(served.counters.steps).toBe(0);
        expect(mesh.openRequests).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

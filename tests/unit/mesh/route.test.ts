import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SampledToken } from '../../../src/client/request-state.ts';
import { FIRST_QUESTION_MS } from '../../../src/mesh/silence-watch.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { encodeFrame } from '../../../src/protocol/frame-codec.ts';
import type { Frame } from '../../../src/protocol/frames.ts';
import type { FrameTransport } from '../../../src/protocol/transport.ts';
import { routeTokens } from '../../fixtures/route-tokens.ts';
import { expectedTokens } from './adding-machine.ts';
import { LocalMesh, peerId, Puppet, requestId, settled } from './local-mesh.ts';

const PROMPT = [5, 900, 17, 3, 3, 250];
/** For a machine that does many other things at the same time. */
const PROPERTY_TIMEOUT_MS = 60_000;

async function errorOf(work: Promise<unknown>): Promise<SkeinError> {
  try {
    await work;
  } catch (thrown) {
    if (thrown instanceof SkeinError) return thrown;
    throw thrown;
  }
  throw new Error('nothing was thrown');
}

describe('a route', () => {
  it.each([1, 2, 3, 8])('of %i stages answers as the undivided model does', async (stageCount) => {
    const mesh = new LocalMesh(stageCount);
    expect(await mesh.generate(PROMPT, 12)).toEqual(expectedTokens(PROMPT, mesh.layerCount, 12));
    await settled();
    expect(mesh.openRequests).toBe(0);
    expect(mesh.stages.map(({ served }) => served.counters.rejected)).toEqual(mesh.stages.map(() => 0));
  });

  it.each([1, 2, 4])('does not depend on prefill chunks of %i rows', async (chunkRows) => {
    const mesh = new LocalMesh(3, { chunkRows });
    expect(await mesh.generate(PROMPT, 5)).toEqual(expectedTokens(PROMPT, mesh.layerCount, 5));
  });

  it('gives positions and log-probabilities with the tokens', async () => {
    const mesh = new LocalMesh(2);
    const [tokenId = 0] = expectedTokens(PROMPT, mesh.layerCount, 1);
    const tokens = await takeAll(mesh.route(PROMPT, 1));
    expect(tokens).toEqual([
      {
        tokenId,
        position: PROMPT.length,
        logProbability: Math.fround(-tokenId / 1021),
        topLogProbabilities: [],
      },
    ]);
  });

  it('counts the rows and bytes that stages pass on', async () => {
    const mesh = new LocalMesh(2);
    await mesh.generate(PROMPT, 4);
    await settled();
    const [first, last] = mesh.stages.map(({ served }) => served.counters);
    // The last token goes into no stage any more.
    expect(first).toMatchObject({ activationRows: PROMPT.length + 3 });
    expect(first?.activationBytes).toBeGreaterThan(PROMPT.length + 3);
    expect(last).toMatchObject({ activationRows: 0, activationBytes: 0 });
  });

  it('serves many requests at once, together and apart', async () => {
    const mesh = new LocalMesh(3, { chunkRows: 3 });
    const prompts = Array.from({ length: 40 }, (_, index) =>
      Array.from({ length: 1 + (index % 7) }, (_, at) => (index * 31 + at * 17) % 1000),
    );
    const answers = await Promise.all(
      prompts.map((prompt, index) => {
        return mesh.generate(prompt, 1 + (index % 5), {
          requestId: requestId(index + 1),
          requester: peerId(0x100 + (index % 3)),
        });
      }),
    );
    expect(answers).toEqual(
      prompts.map((prompt, index) => expectedTokens(prompt, mesh.layerCount, 1 + (index % 5))),
    );
    expect(mesh.stage(2).machine.largestBatch).toBeGreaterThan(20);
    await settled();
    expect(mesh.openRequests).toBe(0);
  });

  it('holds for any prompt, length and cut', { timeout: PROPERTY_TIMEOUT_MS }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 1020 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 30 }),
        async (prompt, stageCount, chunkRows, maxTokens) => {
          const mesh = new LocalMesh(stageCount, { chunkRows });
          const answer = await mesh.generate(prompt, maxTokens);
          expect(answer).toEqual(expectedTokens(prompt, mesh.layerCount, maxTokens));
        },
      ),
    );
  });

  it('ends after a stop token, which is given out, and the ring ends with it', async () => {
    const mesh = new LocalMesh(2);
    const all = expectedTokens(PROMPT, mesh.layerCount, 10);
    const stop = all[3] ?? -1;
    expect(all.indexOf(stop)).toBe(3);
    expect(await mesh.generate(PROMPT, 10, { stopTokenIds: [stop] })).toEqual(all.slice(0, 4));
    await settled();
    expect(mesh.stage(1).served.counters.tokens).toBe(4);
  });

  it('works when the requester serves a stage itself, or every stage', async () => {
    const self = peerId(0xff);
    const mixed = new LocalMesh(3, { peers: [peerId(1), self, peerId(2)] });
    expect(await mixed.generate(PROMPT, 6)).toEqual(expectedTokens(PROMPT, mixed.layerCount, 6));
    const alone = new LocalMesh(1, { peers: [self] });
    expect(await alone.generate(PROMPT, 6)).toEqual(expectedTokens(PROMPT, alone.layerCount, 6));
    await settled();
    expect(mixed.openRequests + alone.openRequests).toBe(0);
  });

  it('works when two neighbouring stages are one peer', async () => {
    for (const peers of [
      [peerId(1), peerId(1)],
      [peerId(1), peerId(1), peerId(2)],
      [peerId(1), peerId(2), peerId(2)],
    ]) {
      const mesh = new LocalMesh(peers.length, { peers });
      expect(await mesh.generate(PROMPT, 6)).toEqual(expectedTokens(PROMPT, mesh.layerCount, 6));
    }
  });

  it('is refused when it uses a link twice, instead of mixing up its stages', async () => {
    const mesh = new LocalMesh(3, { peers: [peerId(1), peerId(1), peerId(1)] });
    const { message, data, cause } = await errorOf(mesh.generate(PROMPT, 6));
    expect(cause).toMatchObject({ code: 'bad-argument' });
    expect([message, data]).toEqual([expect.stringMatching(/ twice/), { peer: peerId(1) }]);
  });

  it('can be opened again at a later epoch, over what is left of the earlier one', async () => {
    const mesh = new LocalMesh(3);
    const first = mesh.route(PROMPT, 50, { epoch: 0 });
    const step = await first.next();
    if (step.done) throw new Error('the route ended without a token');
    const soFar = [...PROMPT, step.value.tokenId];
    const rest = await mesh.generate(soFar, 5, { epoch: 1 });
    expect(rest).toEqual(expectedTokens(PROMPT, mesh.layerCount, 6).slice(1));
    await first.return(undefined);
    await settled();
    expect(mesh.openRequests).toBe(0);
  });
});

describe('the requester', () => {
  it('closes every stage when it stops early', async () => {
    const mesh = new LocalMesh(3);
    for await (const { position } of mesh.route(PROMPT, 1000)) if (position === PROMPT.length + 2) break;
    await settled();
    expect(mesh.openRequests).toBe(0);
  });

  it('hears of an abort at once and closes every stage', async () => {
    const mesh = new LocalMesh(3);
    const controller = new AbortController();
    const tokens = mesh.route(PROMPT, 1000, { signal: controller.signal });
    await tokens.next();
    controller.abort();
    expect((await errorOf(tokens.next())).code).toBe('aborted');
    await settled();
    expect(mesh.openRequests).toBe(0);
  });

  it('gives out nothing after an abort, not even what had come', async () => {
    const controller = new AbortController();
    const mesh = new LocalMesh(1);
    const tokens = mesh.route(PROMPT, 3, { signal: controller.signal });
    await tokens.next();
    await settled();
    expect(mesh.stage(0).served.counters.tokens).toBe(3);
    controller.abort();
    expect((await errorOf(tokens.next())).code).toBe('aborted');
  });

  it('sends nothing when aborted before it starts', async () => {
    const mesh = new LocalMesh(1);
    const signal = AbortSignal.abort();
    expect((await errorOf(mesh.generate(PROMPT, 3, { signal }))).code).toBe('aborted');
    await settled();
    expect(mesh.stage(0).served.counters).toMatchObject({ dropped: 0, rejected: 0, steps: 0, tokens: 0 });
  });

  it('throws what a stage reported, naming the peer', async () => {
    const mesh = new LocalMesh(3, { maxRequests: 0 });
    const error = await errorOf(mesh.generate(PROMPT, 3));
    expect(error).toMatchObject({ code: 'busy', data: { peer: peerId(1) } });
  });

  it('knows a hop that is not there', async () => {
    const mesh = new LocalMesh(3);
    mesh.hub.remove(peerId(1));
    expect(await errorOf(mesh.generate(PROMPT, 3))).toMatchObject({
      code: 'peer-lost',
      data: { peer: peerId(1) },
    });
    const second = new LocalMesh(3);
    second.hub.remove(peerId(2));
    expect(await errorOf(second.generate(PROMPT, 3))).toMatchObject({
      code: 'peer-lost',
      data: { peer: peerId(2) },
    });
    await settled();
    expect(second.openRequests).toBe(0);
  });

  it.each([0, 1, 2])('hears when hop %i vanishes, and nothing is left open elsewhere', async (index) => {
    const mesh = new LocalMesh(3);
    const lost = peerId(index + 1);
    const tokens = mesh.route(PROMPT, 100_000);
    await tokens.next();
    mesh.hub.remove(lost);
    const error = await errorOf(takeAll(tokens));
    expect(error).toMatchObject({ code: 'peer-lost', data: { peer: lost } });
    await settled();
    const survivors = mesh.stages.filter((_, at) => at !== index);
    expect(survivors.map(({ served }) => served.activeRequests)).toEqual([0, 0]);
  });

  it('gives up after a silence, and not before', async () => {
    const mesh = new LocalMesh(1);
    mesh.stage(0).machine.tamper = (outputs) => outputs.filter(({ kind }) => kind !== 'token');
    const waiting = errorOf(mesh.generate(PROMPT, 3));
    await settled();
    const pass = async (seconds: number) => {
      for (let second = 0; second < seconds; second += 1) {
        mesh.clock.advance(1_000);
        await settled();
      }
    };
    await pass(3);
    expect(mesh.stage(0).served.activeRequests).toBe(1);
    await pass(12);
    expect(await waiting).toMatchObject({ code: 'timeout', data: { peer: peerId(1) } });
    await settled();
    expect(mesh.openRequests).toBe(0);
  });

  it('asks the hops after a silence, counted from the last token', async () => {
    const { mesh, first, last, positions, done } = puppetRoute();
    const failing = errorOf(done);
    await settled();
    const inquiries = () => first.heardTypes(mesh.requester).filter((type) => type === 'inquire').length;
    for (const position of [6, 7]) {
      mesh.clock.advance(FIRST_QUESTION_MS - 1);
      await last.say(mesh.requester, sampled(position));
    }
    expect([positions, inquiries()]).toEqual([[6, 7], 0]);
    for (let second = 0; second < 5; second += 1) {
      mesh.clock.advance(1_000);
      await settled();
    }
    expect(inquiries()).toBeGreaterThan(0);
    expect(await failing).toMatchObject({ code: 'timeout', data: { peer: peerId(1) } });
  });

  it('waits for a stage that computes for others for minutes, and so do the other hops', async () => {
    const mesh = new LocalMesh(3);
    const { machine } = mesh.stage(1);
    let steps = 0;
    Object.defineProperty(machine, 'pace', { get: () => ({ steps: (steps += 1), typicalStepMs: 10 }) });
    const emit = machine.onStep;
    let goOn: () => void = () => undefined;
    const room = new Promise<void>((resolve) => (goOn = resolve));
    machine.onStep = async (outputs) => {
      await room;
      await emit(outputs);
    };
    const answer = mesh.generate(PROMPT, 5);
    const errors: unknown[] = [];
    answer.catch((thrown: unknown) => errors.push(thrown));
    for (let second = 0; second < 140; second += 1) {
      mesh.clock.advance(1_000);
      await settled();
    }
    expect([errors, mesh.openRequests]).toEqual([[], 6]);
    goOn();
    expect(await answer).toEqual(expectedTokens(PROMPT, mesh.layerCount, 5));
  });

  it('hears states from the first hop only, which relays them', async () => {
    const { mesh, first, last, stranger, done } = puppetRoute();
    const failing = errorOf(done);
    await settled();
    const state = { type: 'state', ...request, steps: 1, typicalStepMs: 10 } as const;
    const all = { receivedUpTo: PROMPT.length, sentUpTo: PROMPT.length };
    for (let second = 0; second < 16; second += 1) {
      mesh.clock.advance(1_000);
      await settled();
      const asked = first.heard.flatMap(({ frame }) => (frame.type === 'inquire' ? [frame.nonce] : []));
      const nonce = asked.at(-1) ?? 0;
      await first.say(mesh.requester, { ...state, ...all, hop: 0, nonce });
      // In place of the last hop nobody else can say that it works.
      for (const puppet of [last, stranger])
        await puppet.say(mesh.requester, { ...state, ...all, hop: 1, nonce });
      await first.say(mesh.requester, { ...state, ...all, hop: 1, nonce, epoch: 1 });
    }
    expect(await failing).toMatchObject({ code: 'timeout', data: { peer: peerId(2) } });
    expect((await failing).message).toContain('answered no question');
  });

  it.each([
    ['busy', 'peer-lost'],
    ['aborted', 'peer-lost'],
    ['server-lost', 'peer-lost'],
    ['timeout', 'timeout'],
    ['bad-frame', 'bad-frame'],
  ] as const)('takes a link that ends with %s for %s of the first hop', async (linkCode, code) => {
    const mesh = new LocalMesh(2);
    const transport: FrameTransport = {
      self: mesh.requester,
      send: () => Promise.reject(new SkeinError(linkCode, 'no link')),
      onFrame: () => () => undefined,
      onPeerLost: () => () => undefined,
      reject: () => undefined,
    };
    const request = mesh.request(PROMPT.length, 3);
    const { signal } = new AbortController();
    const promptTokenIds = Uint32Array.from(PROMPT);
    const route = routeTokens({ transport, request, promptTokenIds, signal, clock: mesh.clock });
    expect(await errorOf(route.next())).toMatchObject({ code, data: { peer: peerId(1) } });
    expect(mesh.clock.pendingTimers).toBe(0);
  });

  it('gives up what cannot be said in a frame', async () => {
    const mesh = new LocalMesh(1);
    const stopTokenIds = Array.from({ length: 100 }, (_, index) => index);
    expect((await errorOf(mesh.generate(PROMPT, 3, { stopTokenIds }))).code).toBe('bad-argument');
  });

  it('does not dial a lost first hop again to tell it of the end', async () => {
    const { mesh, done } = puppetRoute();
    const failing = errorOf(done);
    await settled();
    mesh.hub.remove(peerId(1));
    const returned = new Puppet(mesh.hub.transport(peerId(1)));
    expect((await failing).code).toBe('peer-lost');
    await settled();
    expect(returned.heard).toEqual([]);
  });

  it('leaves no timer behind', async () => {
    const mesh = new LocalMesh(2);
    await mesh.generate(PROMPT, 3);
    await settled();
    expect(mesh.clock.pendingTimers).toBe(0);
  });

  const request = { requestId: requestId(1), epoch: 0 };
  const sampled = (position: number, epoch = 0): Frame => ({
    type: 'sampled',
    sequences: [
      { ...request, epoch, position, tokenId: position, logProbability: -1, topLogProbabilities: [] },
    ],
  });

  /** A requester whose two hops are puppets: the first and the last. */
  function puppetRoute(maxTokens = 3) {
    const mesh = new LocalMesh(2);
    for (const { served } of mesh.stages) served.dispose();
    const [first, last, stranger] = [1, 2, 9].map((index) => new Puppet(mesh.hub.transport(peerId(index))));
    if (!first || !last || !stranger) throw new Error('three puppets were made');
    const positions: number[] = [];
    const done = (async () => {
      for await (const { position } of mesh.route(PROMPT, maxTokens)) positions.push(position);
    })();
    return { mesh, first, last, stranger, positions, done };
  }

  it('takes each token once and in order, whatever is repeated', async () => {
    const { mesh, last, positions, done } = puppetRoute();
    for (const position of [6, 6, 7, 6, 7, 8]) await last.say(mesh.requester, sampled(position));
    await done;
    expect(positions).toEqual([6, 7, 8]);
  });

  it('fails on a gap', async () => {
    const { mesh, last, done } = puppetRoute();
    const failing = errorOf(done);
    await last.say(mesh.requester, sampled(7));
    expect((await failing).code).toBe('bad-frame');
  });

  it('hears tokens from the last hop only, and of its own epoch only', async () => {
    const { mesh, first, last, stranger, positions, done } = puppetRoute(1);
    await first.say(mesh.requester, sampled(6));
    await stranger.say(mesh.requester, sampled(6));
    await last.say(mesh.requester, sampled(6, 1));
    expect(positions).toEqual([]);
    await last.say(mesh.requester, sampled(6));
    await done;
    expect(positions).toEqual([6]);
  });

  it('hears failures from hops only', async () => {
    const { mesh, first, stranger, done } = puppetRoute();
    const failed: Frame = { type: 'failed', ...request, error: { code: 'out-of-memory', message: 'full' } };
    const failing = errorOf(done);
    await stranger.say(mesh.requester, { ...failed, error: { code: 'internal', message: 'a lie' } });
    await first.say(mesh.requester, { ...failed, epoch: 5 });
    await first.say(mesh.requester, failed);
    expect(await failing).toMatchObject({ code: 'out-of-memory', data: { peer: peerId(1) } });
    expect(first.heardTypes(mesh.requester)).toEqual(['open', 'tokens', 'close']);
  });

  it('fails on garbage from the last hop and ignores it from strangers', async () => {
    const { mesh, last, stranger, positions, done } = puppetRoute();
    const failing = errorOf(done);
    const damaged = encodeFrame(sampled(6), 'f16').subarray(0, 20).slice();
    await stranger.sayBytes(mesh.requester, damaged);
    await last.say(mesh.requester, sampled(6));
    expect(positions).toEqual([6]);
    await last.sayBytes(mesh.requester, damaged);
    expect(await failing).toMatchObject({ code: 'bad-frame', data: { peer: peerId(2) } });
  });

  it('refuses a request that contradicts itself', async () => {
    const mesh = new LocalMesh(1);
    expect((await errorOf(mesh.generate(PROMPT, 1_048_576))).code).toBe('bad-argument');
  });
});

async function takeAll(tokens: AsyncIterable<SampledToken>): Promise<SampledToken[]> {
  const taken = [];
  for await (const token of tokens) taken.push(token);
  return taken;
}

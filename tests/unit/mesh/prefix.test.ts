import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cacheScope } from '../../../src/mesh/cache-scope.ts';
import type { SampledToken } from '../../../src/client/request-state.ts';
import type { Frame } from '../../../src/protocol/frames.ts';
import { BLOCK_TOKENS } from '../../../src/protocol/stage.ts';
import { refusalOf } from '../../fixtures/errors.ts';
import { expectedTokens } from './adding-machine.ts';
import { chainOf, LocalMesh, peerId, Puppet, requestId, settled } from './local-mesh.ts';
import type { RequestChanges } from './local-mesh.ts';

/** For a machine that does many other things at the same time. */
const PROPERTY_TIMEOUT_MS = 60_000;
const tokensFrom = (seed: number, count: number) =>
  Array.from({ length: count }, (_, index) => (seed * 131 + index * index * 7 + index) % 1000);

/** Asks with block hashes, checks the answer against the undivided model, and says what was agreed. */
async function ask(
  mesh: LocalMesh,
  prompt: readonly number[],
  maxTokens: number,
  id: number,
): Promise<Asked> {
  const rowsBefore = mesh.stages.map(({ machine }) => machine.rowsComputed);
  const agreed: number[] = [];
  const tokens = await mesh.generate(prompt, maxTokens, {
    requestId: requestId(id),
    blockHashes: chainOf(prompt),
    onOpened: (cachedTokens) => agreed.push(cachedTokens),
  });
  expect(tokens).toEqual(expectedTokens(prompt, mesh.layerCount, maxTokens));
  await settled();
  expect(mesh.openRequests).toBe(0);
  expect(mesh.stages.map(({ served }) => served.counters.rejected)).toEqual(mesh.stages.map(() => 0));
  const rows = mesh.stages.map(({ machine }, index) => machine.rowsComputed - (rowsBefore[index] ?? 0));
  return { tokens, agreed, rows };
}

async function take(route: AsyncGenerator<SampledToken, void, void>, count: number): Promise<number[]> {
  const tokens: number[] = [];
  while (tokens.length < count) {
    const step = await route.next();
    if (step.done) throw new Error(`the route ended after ${tokens.length} tokens`);
    tokens.push(step.value.tokenId);
  }
  return tokens;
}

interface Asked {
  readonly tokens: readonly number[];
  /** What `onOpened` was told. */
  readonly agreed: readonly number[];
  /** Rows that each stage computed for it. */
  readonly rows: readonly number[];
}

describe('a prefix that stages have', () => {
  it.each([1, 2, 3, 5])('is neither sent nor computed again over %i stages', async (stageCount) => {
    const mesh = new LocalMesh(stageCount);
    const shared = tokensFrom(1, 70);
    const first = await ask(mesh, [...shared, ...tokensFrom(2, 9)], 4, 1);
    expect(first.agreed).toEqual([0]);
    const second = await ask(mesh, [...shared, ...tokensFrom(3, 20)], 4, 2);
    expect(second.agreed).toEqual([64]);
    // The last token of the answer goes into no stage.
    expect(second.rows).toEqual(new Array<number>(stageCount).fill(90 - 64 + 3));
  });

  it('is used again when the prompt is the same, but for the last block', async () => {
    const mesh = new LocalMesh(2);
    for (const [length, cached] of [
      [16, 0],
      [17, 16],
      [32, 16],
      [33, 32],
    ] as const) {
      const prompt = tokensFrom(length, length);
      await ask(mesh, prompt, 1, length);
      const again = await ask(mesh, prompt, 1, 100 + length);
      expect([again.agreed, again.rows]).toEqual([[cached], [length - cached, length - cached]]);
    }
  });

  it.each([0, 1, 2])('is as long as what every stage has of it: stage %i forgot', async (forgetful) => {
    const mesh = new LocalMesh(3);
    const prompt = tokensFrom(1, 80);
    await ask(mesh, prompt, 2, 1);
    const { cache } = mesh.stage(forgetful).machine;
    const scope = cacheScope(mesh.request(1, 1), forgetful);
    expect(cache.delete(`${scope} ${chainOf(prompt).hashes[2] ?? ''}`)).toBe(true);
    expect((await ask(mesh, prompt, 2, 2)).agreed).toEqual([32]);
    cache.clear();
    expect((await ask(mesh, prompt, 2, 3)).agreed).toEqual([0]);
    expect((await ask(mesh, prompt, 2, 4)).agreed).toEqual([64]);
  });

  it('holds the tokens of an answer too, once it is over', async () => {
    const mesh = new LocalMesh(3);
    const prompt = tokensFrom(1, 20);
    const { tokens } = await ask(mesh, prompt, 30, 1);
    const dialogue = [...prompt, ...tokens, ...tokensFrom(2, 10)];
    // 49 tokens were computed: the last of the 30 was sampled and never fed.
    expect((await ask(mesh, dialogue, 3, 2)).agreed).toEqual([48]);
    const named = mesh.stages.map(({ machine }) => machine.closedWith[0]);
    expect(named).toEqual(new Array(3).fill(chainOf([...prompt, ...tokens]).hashes));
  });

  it('holds what was computed before an abort', async () => {
    const mesh = new LocalMesh(2);
    const prompt = tokensFrom(1, 16);
    const abort = new AbortController();
    const route = mesh.route(prompt, 1000, { blockHashes: chainOf(prompt), signal: abort.signal });
    const tokens = await take(route, 20);
    abort.abort();
    expect(await refusalOf(() => route.next())).toMatchObject({ code: 'aborted' });
    await settled();
    expect((await ask(mesh, [...prompt, ...tokens], 2, 2)).agreed).toEqual([32]);
  });

  it('serves the next epoch of a request, over the same stages', async () => {
    for (const isClosedBefore of [true, false]) {
      const mesh = new LocalMesh(3);
      const prompt = tokensFrom(1, 40);
      const chain = chainOf(prompt);
      const first = mesh.route(prompt, 1000, { blockHashes: chain });
      const soFar = [...prompt, ...(await take(first, 20))];
      if (isClosedBefore) await first.return(undefined);
      const rowsBefore = mesh.stage(0).machine.rowsComputed;
      const agreed: number[] = [];
      const rest = await mesh.generate(soFar, 5, {
        epoch: 1,
        blockHashes: chainOf(soFar),
        onOpened: (cachedTokens) => agreed.push(cachedTokens),
      });
      expect(rest).toEqual(expectedTokens(prompt, mesh.layerCount, 25).slice(20));
      expect(agreed).toEqual([48]);
      // The prompt that is left and four tokens of the answer; the first route may have taken a step more meanwhile.
      const rows = mesh.stage(0).machine.rowsComputed - rowsBefore;
      expect(rows).toBeGreaterThanOrEqual(60 - 48 + 4);
      expect(rows).toBeLessThan(60 - 48 + 4 + 5);
      await first.return(undefined);
      await settled();
      expect(mesh.openRequests).toBe(0);
    }
  });

  it('is never what a lying hop left behind in the name of a requester', async () => {
    const mesh = new LocalMesh(3);
    const prompt = tokensFrom(1, 40);
    await ask(mesh, prompt, 2, 1);
    for (const index of [1, 2]) mesh.stage(index).machine.cache.clear();
    const liar = new Puppet(mesh.hub.transport(peerId(9)));
    const request = {
      ...mesh.request(40, 2, { requestId: requestId(2) }),
      blockHashes: [...chainOf(prompt).hashes],
    };
    const [first, ...others] = request.route.hops;
    if (!first) throw new Error('a route has a first hop');
    const route = { ...request.route, hops: [{ ...first, peer: peerId(9) }, ...others] };
    await liar.say(peerId(2), {
      type: 'open',
      request: { ...request, route },
      offers: [{ cachedTokens: 0, journalFrom: 0 }],
    });
    await liar.say(peerId(2), { type: 'begin', requestId: requestId(2), epoch: 0, starts: [0, 0, 0] });
    const values = new Float32Array(80).fill(1);
    const rows = { requestId: requestId(2), epoch: 0, position: 0, rows: 40, values };
    await liar.say(peerId(2), { type: 'activations', hiddenSize: 2, sequences: [rows] });
    const close = { requestId: requestId(2), epoch: 0, blockHashes: request.blockHashes, isMoved: false };
    await liar.say(peerId(2), { type: 'close', ...close });
    expect(mesh.stage(1).machine.cache.size).toBe(2);
    expect(mesh.stage(2).machine.cache.size).toBe(2);
    expect((await ask(mesh, prompt, 2, 3)).agreed).toEqual([0]);
    expect((await ask(mesh, prompt, 2, 4)).agreed).toEqual([32]);
  });

  it(
    'changes no token, whatever was asked before and forgotten since',
    { timeout: PROPERTY_TIMEOUT_MS },
    () => {
      const question = fc.record({
        // Prompts share the beginning of one of two texts.
        text: fc.integer({ min: 0, max: 1 }),
        sharedLength: fc.integer({ min: 0, max: 70 }),
        ownTokens: fc.array(fc.integer({ min: 0, max: 1020 }), { minLength: 1, maxLength: 20 }),
        maxTokens: fc.integer({ min: 1, max: 20 }),
        forgets: fc.option(fc.nat(), { freq: 3 }),
      });
      let agreedTokens = 0;
      return fc
        .assert(
          fc.asyncProperty(
            fc.integer({ min: 1, max: 4 }),
            fc.integer({ min: 1, max: 40 }),
            fc.array(question, { minLength: 2, maxLength: 6 }),
            async (stageCount, chunkRows, questions) => {
              const mesh = new LocalMesh(stageCount, { chunkRows });
              for (const [
                index,
                { text, sharedLength, ownTokens, maxTokens, forgets },
              ] of questions.entries()) {
                const prompt = [...tokensFrom(text, sharedLength), ...ownTokens];
                const { agreed } = await ask(mesh, prompt, maxTokens, index);
                agreedTokens += agreed[0] ?? 0;
                const { cache } = mesh.stage((forgets ?? 0) % stageCount).machine;
                const key =
                  forgets === null ? undefined : [...cache.keys()][forgets % Math.max(1, cache.size)];
                if (key !== undefined) cache.delete(key);
              }
            },
          ),
          { numRuns: 60 },
        )
        .then(() => expect(agreedTokens).toBeGreaterThan(500));
    },
  );
});

describe('the requester', () => {
  const PROMPT = tokensFrom(1, 40);

  /** A requester whose two hops are puppets: the first and the last. */
  function puppetRoute(prompt: readonly number[] = PROMPT, changes: RequestChanges = {}) {
    const mesh = new LocalMesh(2);
    for (const { served } of mesh.stages) served.dispose();
    const [first, last, stranger] = [1, 2, 9].map((index) => new Puppet(mesh.hub.transport(peerId(index))));
    if (!first || !last || !stranger) throw new Error('three puppets were made');
    const done = mesh.generate(prompt, 3, changes);
    // Whoever does not wait for the end does not want to hear of it.
    done.catch(() => undefined);
    const sent = () => first.heard.map(({ frame }) => frame);
    return { mesh, first, last, stranger, done, sent };
  }

  /** @param cachedTokens of each hop. */
  const opened = (cachedTokens: readonly number[], epoch = 0): Frame => ({
    type: 'opened',
    requestId: requestId(1),
    epoch,
    offers: cachedTokens.map((tokens) => ({ cachedTokens: tokens, journalFrom: tokens })),
  });
  const begin = (start: number): Frame => ({
    type: 'begin',
    requestId: requestId(1),
    epoch: 0,
    starts: [start, start],
  });
  const withHashes = { blockHashes: chainOf(PROMPT) };
  const promptFrom = (position: number): Frame => ({
    type: 'tokens',
    sequences: [
      { requestId: requestId(1), epoch: 0, position, tokenIds: Uint32Array.from(PROMPT.slice(position)) },
    ],
  });

  it.each<[string, readonly number[], RequestChanges]>([
    ['nobody named its blocks', PROMPT, {}],
    ['it is too short to be cached', PROMPT.slice(0, 16), { blockHashes: chainOf(PROMPT.slice(0, 16)) }],
  ])('sends the prompt right behind open when %s', async (_why, prompt, changes) => {
    const agreed: number[] = [];
    const { sent } = puppetRoute(prompt, { ...changes, onOpened: (tokens) => agreed.push(tokens) });
    await settled();
    expect(sent().map(({ type }) => type)).toEqual(['open', 'tokens']);
    expect(sent()[0]).toMatchObject({ offers: [] });
    expect(agreed).toEqual([0]);
  });

  it('waits for the last hop, and sends what is not cached', async () => {
    const { mesh, last, sent } = puppetRoute(PROMPT, { blockHashes: chainOf(PROMPT) });
    await settled();
    expect(sent()).toMatchObject([
      { type: 'open', offers: [], request: { blockHashes: withHashes.blockHashes.hashes } },
    ]);
    await last.say(mesh.requester, opened([16, 16]));
    expect(sent().slice(1)).toEqual([begin(16), promptFrom(16)]);
    await last.say(mesh.requester, opened([32, 32]));
    expect(sent()).toHaveLength(3);
  });

  it('believes the first hop that nothing is cached, before the last has spoken', async () => {
    const { mesh, first, last, stranger, sent } = puppetRoute(PROMPT, { blockHashes: chainOf(PROMPT) });
    await stranger.say(mesh.requester, opened([0]));
    await last.say(mesh.requester, opened([0, 0], 1));
    expect(sent()).toHaveLength(1);
    await first.say(mesh.requester, opened([0]));
    expect(sent().slice(1)).toEqual([begin(0), promptFrom(0)]);
    await last.say(mesh.requester, opened([0, 0]));
    expect(sent()).toHaveLength(3);
  });

  it.each<[string, 'first' | 'last', readonly number[], number]>([
    ['the first hop speaks for itself where it has something', 'first', [16], 0],
    ['the first hop speaks for the others', 'first', [0, 0], 0],
    ['the first hop speaks early at a later epoch', 'first', [0], 1],
    ['the last hop leaves one out', 'last', [0], 0],
    ['the last hop counts too many', 'last', [0, 0, 0], 0],
    ['the last hop has the last token', 'last', [16, 48], 0],
  ])('blames who says what no honest hop says: %s', async (_why, liar, offers, epoch) => {
    const { mesh, first, last, done } = puppetRoute(PROMPT, { epoch, blockHashes: chainOf(PROMPT) });
    const puppet = liar === 'first' ? first : last;
    await puppet.say(mesh.requester, opened(offers, epoch));
    const peer = peerId(liar === 'first' ? 1 : 2);
    expect(await refusalOf(() => done)).toMatchObject({ code: 'bad-frame', data: { peer } });
  });

  it('lets a hop start where it is, and the others where they are needed', async () => {
    const { mesh, last, sent } = puppetRoute(PROMPT, { epoch: 1, blockHashes: chainOf(PROMPT) });
    const offers = [
      { cachedTokens: 32, journalFrom: 0 },
      { cachedTokens: 16, journalFrom: 16 },
    ];
    const agreed = { requestId: requestId(1), epoch: 1 };
    await last.say(mesh.requester, { type: 'opened', ...agreed, offers });
    expect(sent().slice(1)).toEqual([
      { type: 'begin', ...agreed, starts: [32, 16] },
      {
        type: 'tokens',
        sequences: [{ ...agreed, position: 32, tokenIds: Uint32Array.from(PROMPT.slice(32)) }],
      },
    ]);
  });

  it('takes no more than it asked for', async () => {
    const { mesh, last, done, sent } = puppetRoute(PROMPT, { blockHashes: chainOf(PROMPT) });
    await last.say(mesh.requester, opened([48, 48]));
    expect(await refusalOf(() => done)).toMatchObject({ code: 'bad-frame', data: { peer: peerId(2) } });
    await settled();
    expect(sent().map(({ type }) => type)).toEqual(['open', 'close']);
  });

  it('sends nothing more once the route has failed', async () => {
    const { mesh, last, done, sent } = puppetRoute(PROMPT, { blockHashes: chainOf(PROMPT) });
    const error = { code: 'internal', message: 'broken' } as const;
    await Promise.all([
      last.say(mesh.requester, { type: 'failed', requestId: requestId(1), epoch: 0, error }),
      last.say(mesh.requester, opened([16, 16])),
    ]);
    expect(await refusalOf(() => done)).toMatchObject({ code: 'internal' });
    expect(sent().map(({ type }) => type)).toEqual(['open', 'close']);
  });

  it('gives up when nobody answers, or says anything of the request', async () => {
    const { mesh, done, sent } = puppetRoute(PROMPT, { blockHashes: chainOf(PROMPT) });
    await settled();
    for (let second = 0; second < 12; second += 1) {
      mesh.clock.advance(1_000);
      await settled();
    }
    expect(await refusalOf(() => done)).toMatchObject({ code: 'timeout', data: { peer: peerId(1) } });
    expect(sent().map(({ type }) => type)).toContain('inquire');
  });

  it('names the blocks of prompt and answer when it closes', async () => {
    const { mesh, last, sent, done } = puppetRoute(PROMPT.slice(0, 30), {
      blockHashes: chainOf(PROMPT.slice(0, 30)),
    });
    await last.say(mesh.requester, opened([16, 16]));
    // One that comes twice is part of the answer once.
    for (const position of [30, 30, 31, 32]) {
      const sequence = { requestId: requestId(1), epoch: 0, position, tokenId: position };
      const sampled = { ...sequence, logProbability: -1, topLogProbabilities: [] };
      await last.say(mesh.requester, { type: 'sampled', sequences: [sampled] });
    }
    expect(await done).toEqual([30, 31, 32]);
    await settled();
    expect(sent().at(-1)).toMatchObject({
      type: 'close',
      blockHashes: chainOf([...PROMPT.slice(0, 30), 30, 31, 32]).hashes,
    });
    expect(Math.floor(33 / BLOCK_TOKENS)).toBe(2);
  });

  it('refuses a chain of another sequence', async () => {
    const { done } = puppetRoute(PROMPT, { blockHashes: chainOf(PROMPT.slice(1)) });
    expect(await refusalOf(() => done)).toMatchObject({ code: 'bad-argument' });
  });
});

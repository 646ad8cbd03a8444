import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_TOLD_REROUTES, transition } from '../../../src/client/request-machine.ts';
import { beginRequest, isOver } from '../../../src/client/request-state.ts';
import type {
  RequestEffect,
  RequestEvent,
  RequestHappening,
  RequestState,
  SampledToken,
} from '../../../src/client/request-state.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { ErrorCode } from '../../../src/protocol/errors.ts';
import type { ModelId, PeerId, RequestId } from '../../../src/protocol/ids.ts';
import type { Route } from '../../../src/protocol/route.ts';

const PROMPT_TOKENS = 20;
const STOP = 999;
const PEERS = Array.from({ length: 6 }, (_, index) => index.toString(16).padStart(32, '0') as PeerId);
const peer = (index: number): PeerId => PEERS[index % PEERS.length] ?? ('f'.repeat(32) as PeerId);

/** Three hops, others at every epoch. */
function routeOf(epoch: number): Route {
  const hops = [0, 1, 2].map((hop) => ({ peer: peer(epoch + hop), layerStart: hop, layerEnd: hop + 1 }));
  return { requestId: '0'.repeat(16) as RequestId, epoch, model: 'm' as ModelId, hops };
}

/** The answer that every route gives: what is lost or doubled shows. */
const tokenAt = (position: number): SampledToken => ({
  tokenId: 100 + position,
  position,
  logProbability: -1,
  topLogProbabilities: [],
});

function failure(
  code: ErrorCode,
  data: Readonly<Record<string, string | number | boolean>> = {},
): SkeinError {
  return new SkeinError(code, code, { data });
}

/** A request that is told things one after the other, and everything that it wanted done. */
class Told {
  state: RequestState;
  nowMs = 0;
  readonly effects: RequestEffect[] = [];

  constructor(maxTokens = 10, isConstrained = false) {
    const facts = { promptTokens: PROMPT_TOKENS, maxTokens, stopTokenIds: [STOP], isConstrained };
    const step = beginRequest(facts);
    this.state = step.state;
    this.effects.push(...step.effects);
  }

  get epoch(): number {
    return this.state.progress.retry.epoch;
  }

  get nextPosition(): number {
    return PROMPT_TOKENS + this.state.progress.log.length;
  }

  /** @returns what is to be done about it. */
  tell(happening: RequestHappening): readonly RequestEffect[] {
    const event: RequestEvent = { ...happening, atMs: this.nowMs };
    const { state, effects } = transition(this.state, event);
    this.state = state;
    this.effects.push(...effects);
    return effects;
  }

  route(): readonly RequestEffect[] {
    return this.tell({ type: 'routed', epoch: this.epoch, route: routeOf(this.epoch) });
  }

  token(position = this.nextPosition, epoch = this.epoch): readonly RequestEffect[] {
    return this.tell({ type: 'token', epoch, token: tokenAt(position) });
  }

  lose(error: SkeinError, accuser: PeerId | null = null): readonly RequestEffect[] {
    return this.tell({ type: 'lost', epoch: this.epoch, error, accuser });
  }

  /** A hop of the present route. */
  hop(index: number): PeerId {
    return routeOf(this.epoch).hops[index]?.peer ?? peer(0);
  }

  loseHop(index: number, code: ErrorCode = 'peer-lost'): readonly RequestEffect[] {
    return this.lose(failure(code, { peer: this.hop(index) }));
  }
}

function typesOf(effects: readonly RequestEffect[]): string[] {
  return effects.map(({ type }) => type);
}

describe('a request', () => {
  it('goes from open over prefilling and decoding to its end', () => {
    const told = new Told(2);
    expect([told.state.phase, typesOf(told.effects)]).toEqual(['open', ['ask']]);
    expect(typesOf(told.route())).toEqual(['tell-route', 'start']);
    expect(told.state.phase).toBe('prefilling');
    expect(typesOf(told.token())).toEqual(['take']);
    expect(told.state.phase).toBe('decoding');
    told.token();
    expect(told.state).toMatchObject({ phase: 'done', finishReason: 'length' });
  });

  it('ends with a stop token, or a stop string', () => {
    const byToken = new Told();
    byToken.route();
    byToken.tell({ type: 'token', epoch: 0, token: { ...tokenAt(PROMPT_TOKENS), tokenId: STOP } });
    expect(byToken.state).toMatchObject({ phase: 'done', finishReason: 'stop' });
    const byText = new Told();
    byText.route();
    byText.token();
    byText.tell({ type: 'stop-string' });
    expect(byText.state).toMatchObject({ phase: 'done', finishReason: 'stop' });
  });

  it('asks at once without the hop that left, and says how long that took', () => {
    const told = new Told();
    told.route();
    told.token();
    told.nowMs = 1000;
    const lost = told.hop(1);
    const effects = told.loseHop(1);
    expect(typesOf(effects)).toEqual(['leave', 'suspect', 'tell-waiting', 'ask']);
    expect(effects.at(-1)).toMatchObject({ epoch: 1, exclude: [lost] });
    expect(effects[2]).toMatchObject({
      epoch: 1,
      delayMs: 0,
      reroute: { peer: lost, code: 'peer-lost', pauseMs: 0 },
    });
    expect(told.state.phase).toBe('rerouting');
    told.nowMs = 1200;
    expect(told.route()[0]).toMatchObject({
      reroute: { epoch: 0, peer: lost, phase: 'decoding', pauseMs: 200 },
    });
    told.nowMs = 1350;
    const [resumed, take] = told.token();
    expect(resumed).toEqual({
      type: 'tell-resumed',
      reroutes: [{ epoch: 0, peer: lost, code: 'peer-lost', phase: 'decoding', pauseMs: 350 }],
    });
    expect(take).toMatchObject({ type: 'take', token: tokenAt(PROMPT_TOKENS + 1) });
    expect(typesOf(told.token())).toEqual(['take']);
    expect(told.state.progress.reroutes).toHaveLength(1);
  });

  it('counts each of several losses from its own beginning', () => {
    const told = new Told();
    told.route();
    told.loseHop(0);
    told.nowMs = 100;
    told.route();
    told.loseHop(2, 'timeout');
    told.tell({ type: 'woke', epoch: told.epoch });
    told.nowMs = 700;
    told.route();
    told.token();
    expect(told.state.progress.reroutes.map(({ code, phase, pauseMs }) => [code, phase, pauseMs])).toEqual([
      ['peer-lost', 'prefilling', 700],
      ['timeout', 'prefilling', 600],
    ]);
  });

  it('drops and counts tokens that come twice, late or when nobody waits for one', () => {
    const told = new Told();
    told.token(PROMPT_TOKENS, 0);
    told.route();
    told.token();
    told.token(PROMPT_TOKENS);
    told.loseHop(2);
    told.token(PROMPT_TOKENS + 1, 0);
    told.route();
    told.token(PROMPT_TOKENS + 1, 0);
    told.token();
    expect(told.state.progress.droppedTokens).toBe(4);
    expect(told.state.progress.log.tokenIds).toEqual([120, 121]);
  });

  it('blames the last hop for a token that is missing', () => {
    const told = new Told();
    told.route();
    const last = told.hop(2);
    const effects = told.token(PROMPT_TOKENS + 1);
    expect(effects).toContainEqual(expect.objectContaining({ type: 'suspect', peer: last }));
    expect(told.state.progress).toMatchObject({ keepsCache: false, retry: { exclude: [last] } });
  });

  it.each<[ErrorCode, boolean]>([
    ['peer-lost', true],
    ['timeout', true],
    ['device-lost', true],
    ['out-of-memory', true],
    ['bad-frame', false],
    ['internal', false],
  ])('after %s the hops may keep what they have: %s', (code, keepsCache) => {
    const told = new Told();
    told.route();
    told.loseHop(1, code);
    expect(told.route().at(-1)).toMatchObject({ type: 'start', keepsCache });
    // What was doubtful once stays so: a hop may have it from then.
    told.loseHop(0);
    told.tell({ type: 'woke', epoch: told.epoch });
    expect(told.route().at(-1)).toMatchObject({ type: 'start', keepsCache });
  });

  it('suspects nobody when a stage is only full, or nobody can be named', () => {
    for (const error of [failure('busy', { peer: peer(1) }), failure('timeout')]) {
      const told = new Told();
      told.route();
      expect(typesOf(told.lose(error))).not.toContain('suspect');
    }
  });

  it('avoids a hop that is full for the second time in a row, and suspects it of nothing', () => {
    for (const [tokensBetween, fullNext, excluded] of [
      [0, 1, [peer(1)]],
      [0, 2, []],
      [1, 1, []],
    ] as const) {
      const told = new Told();
      const { hops } = routeOf(0);
      for (let time = 0; time < 2; time += 1) {
        expect(told.state.progress.retry.exclude).toEqual([]);
        told.tell({ type: 'routed', epoch: told.epoch, route: { ...routeOf(told.epoch), hops } });
        for (let token = 0; token < time * tokensBetween; token += 1) told.token();
        told.lose(failure('busy', { peer: peer(time === 0 ? 1 : fullNext) }));
        told.tell({ type: 'woke', epoch: told.epoch });
      }
      expect(told.state.progress.retry.exclude).toEqual(excluded);
      expect(typesOf(told.effects)).not.toContain('suspect');
    }
  });

  it('suspects and avoids both of two that contradict each other', () => {
    const told = new Told();
    told.route();
    const [one, other] = [told.hop(0), told.hop(1)];
    told.lose(failure('timeout', { peer: other, otherPeer: one }));
    expect(told.state.progress.retry.exclude).toEqual([one, other]);
    const suspicions = told.effects.flatMap((effect) => (effect.type === 'suspect' ? [effect] : []));
    expect(suspicions.map(({ peer: suspected, error }) => [suspected, error.data['otherPeer']])).toEqual(
      expect.arrayContaining([
        [one, other],
        [other, one],
      ]),
    );
    expect(suspicions).toHaveLength(2);
  });

  it('tells of a hop that another one accuses whose word it is, and of one that it saw itself nothing else', () => {
    for (const accuser of [peer(0), null]) {
      const told = new Told();
      told.route();
      const [one, other] = [told.hop(0), told.hop(1)];
      told.lose(failure('bad-frame', { peer: other }), accuser === null ? null : one);
      const [suspicion] = told.effects.flatMap((effect) => (effect.type === 'suspect' ? [effect] : []));
      expect(suspicion).toMatchObject({ peer: other });
      expect(suspicion?.error.data['otherPeer']).toBe(accuser === null ? undefined : one);
    }
  });

  it('avoids a hop that accuses one after the other, and no honest one that reports two losses', () => {
    const told = new Told();
    const accuser = 'a'.repeat(32) as PeerId;
    const hops = (victim: PeerId) => [
      { peer: accuser, layerStart: 0, layerEnd: 1 },
      { peer: victim, layerStart: 1, layerEnd: 2 },
    ];
    for (const index of [0, 1, 2]) {
      const route = { ...routeOf(told.epoch), hops: hops(peer(index)) };
      told.tell({ type: 'routed', epoch: told.epoch, route });
      expect(told.state.progress.retry.exclude).not.toContain(accuser);
      told.lose(failure('peer-lost', { peer: peer(index) }), accuser);
      told.tell({ type: 'woke', epoch: told.epoch });
    }
    expect(told.state.progress.retry.exclude).toContain(accuser);
    expect(told.effects).toContainEqual(expect.objectContaining({ type: 'suspect', peer: accuser }));
  });

  it('ends by what is found wrong here, but not by the word of one hop', () => {
    const told = new Told();
    told.route();
    told.lose(failure('bad-argument'));
    expect(told.state).toMatchObject({ phase: 'failed', error: { code: 'bad-argument' } });
    // Of itself, as a stage that refuses does, or of another.
    for (const accuser of [null, 2]) {
      const asked = new Told();
      asked.route();
      const liar = asked.hop(accuser ?? 0);
      asked.lose(failure('bad-argument', { peer: asked.hop(0) }), accuser === null ? null : liar);
      expect(asked.state).toMatchObject({ phase: 'rerouting', progress: { retry: { exclude: [liar] } } });
      asked.route();
      asked.lose(failure('bad-argument', { peer: asked.hop(1) }));
      expect(asked.state).toMatchObject({ phase: 'failed', error: { code: 'bad-argument' } });
    }
  });

  it('ends at once by the one hop that reads its constraint, and suspects nobody', () => {
    const refusal = failure('bad-argument', { field: 'constraint' });
    for (const isDecoding of [false, true]) {
      const told = new Told(10, true);
      told.route();
      if (isDecoding) told.token();
      expect(typesOf(told.lose(refusal, told.hop(2)))).toEqual(['leave']);
      expect(told.state).toMatchObject({ phase: 'failed', error: refusal });
    }

    for (const [isConstrained, accuser] of [
      [true, 0],
      [false, 2],
    ] as const) {
      const told = new Told(10, isConstrained);
      told.route();
      told.lose(refusal, told.hop(accuser));
      expect(told.state.phase).toBe('rerouting');
    }
  });

  it('waits for a server that is away, at first and in the middle', () => {
    for (const tokens of [0, 1]) {
      const told = new Told();
      if (tokens > 0) {
        told.route();
        told.token();
        told.loseHop(1);
      }
      const exclude = told.state.progress.retry.exclude;
      const away = () => told.tell({ type: 'unrouted', epoch: told.epoch, error: failure('server-lost') });
      for (let attempt = 0; attempt < 100; attempt += 1) {
        expect(typesOf(away())).toEqual(['tell-waiting', 'pause']);
        told.tell({ type: 'woke', epoch: told.epoch });
      }
      expect(told.state.progress.retry.exclude).toEqual(exclude);
      told.route();
      told.token();
      expect(told.state.phase).toBe('decoding');
    }
  });

  it('remembers a bounded number of losses', () => {
    const told = new Told(2000);
    for (let loss = 0; loss < MAX_TOLD_REROUTES + 10; loss += 1) {
      told.route();
      told.token();
      told.loseHop(0);
    }
    told.route();
    told.token();
    expect(told.state.progress.reroutes).toHaveLength(MAX_TOLD_REROUTES);
    expect(told.state.progress.reroutes.at(-1)?.epoch).toBe(MAX_TOLD_REROUTES + 9);
    expect(told.state.progress.exclusions.length).toBeLessThanOrEqual(64);
  });
});

/** Something that may happen, relative to where the request is. */
type Chance =
  /** What it waits for. */
  | { readonly kind: 'luck' }
  | { readonly kind: 'token'; readonly ahead: number; readonly epochsAgo: number }
  | {
      readonly kind: 'lost';
      readonly code: ErrorCode;
      readonly hop: number;
      readonly epochsAgo: number;
      readonly accuser: number | null;
    }
  | { readonly kind: 'routed' | 'woke' | 'queued'; readonly epochsAgo: number }
  | { readonly kind: 'unrouted'; readonly code: ErrorCode; readonly epochsAgo: number }
  | { readonly kind: 'end'; readonly type: 'abort' | 'time-up' | 'stop-string' };

const epochsAgo = fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, fc.integer({ min: -1, max: 3 }));
const faults: readonly ErrorCode[] = ['peer-lost', 'timeout', 'device-lost', 'bad-frame', 'internal', 'busy'];
const chance: fc.Arbitrary<Chance> = fc.oneof(
  { weight: 12, arbitrary: fc.constant({ kind: 'luck' as const }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('token' as const),
      ahead: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, fc.integer({ min: -3, max: 2 })),
      epochsAgo,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('lost' as const),
      code: fc.constantFrom(...faults),
      hop: fc.integer({ min: 0, max: 4 }),
      accuser: fc.option(fc.integer({ min: 0, max: 5 })),
      epochsAgo,
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom('routed' as const, 'woke' as const, 'queued' as const),
      epochsAgo,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('unrouted' as const),
      code: fc.constantFrom<ErrorCode>('no-route', 'busy', 'timeout', 'server-lost'),
      epochsAgo,
    }),
  },
);
const end: fc.Arbitrary<Chance> = fc.record({
  kind: fc.constant('end' as const),
  type: fc.constantFrom('abort' as const, 'time-up' as const, 'stop-string' as const),
});

function happeningOf(told: Told, chosen: Chance): RequestHappening {
  if (chosen.kind === 'end') {
    return chosen.type === 'time-up' ? { type: 'time-up', error: failure('timeout') } : { type: chosen.type };
  }
  if (chosen.kind === 'luck') {
    const { epoch, state } = told;
    if (!('wait' in state)) return { type: 'token', epoch, token: tokenAt(told.nextPosition) };
    return state.wait === 'delay'
      ? { type: 'woke', epoch }
      : { type: 'routed', epoch, route: routeOf(epoch) };
  }
  const epoch = told.epoch - chosen.epochsAgo;
  switch (chosen.kind) {
    case 'token':
      return { type: 'token', epoch, token: tokenAt(told.nextPosition + chosen.ahead) };
    case 'lost': {
      const named = routeOf(epoch).hops[chosen.hop]?.peer ?? ('e'.repeat(32) as PeerId);
      const accuser = chosen.accuser === null ? null : peer(chosen.accuser);
      return { type: 'lost', epoch, error: failure(chosen.code, { peer: named }), accuser };
    }
    case 'routed':
      return { type: 'routed', epoch, route: routeOf(epoch) };
    case 'woke':
      return { type: 'woke', epoch };
    case 'queued':
      return { type: 'queued', epoch, position: 3 };
    case 'unrouted':
      return { type: 'unrouted', epoch, error: failure(chosen.code, { loading: true }) };
  }
}

/** What the machine must do with it, said another way: by what was told and wanted so far. */
class Expected {
  readonly taken: number[] = [];
  dropped = 0;
  ends = 0;

  check(
    told: Told,
    before: RequestState,
    happening: RequestHappening,
    effects: readonly RequestEffect[],
  ): void {
    const wasOver = isOver(before);
    const { epoch } = before.progress.retry;
    const isCurrent = 'epoch' in happening && happening.epoch === epoch;
    const hadRoute = before.phase === 'prefilling' || before.phase === 'decoding';
    if (happening.type === 'token') {
      const next = PROMPT_TOKENS + this.taken.length;
      const isHeard = hadRoute && isCurrent;
      if (isHeard && happening.token.position === next) this.taken.push(happening.token.tokenId);
      else if (!isHeard || happening.token.position < next) this.dropped += 1;
    }
    const { progress } = told.state;
    expect(progress.log.tokenIds).toEqual(this.taken);
    expect(progress.droppedTokens).toBe(this.dropped);
    if (!wasOver && isOver(told.state)) this.ends += 1;
    if (wasOver) expect([told.state.phase, effects]).toEqual([before.phase, []]);

    // An epoch ends only when its route fails or its wish for one does, and the next is one more.
    const advance = progress.retry.epoch - epoch;
    const mayAdvance =
      isCurrent &&
      !wasOver &&
      (happening.type === 'lost' || happening.type === 'unrouted' || happening.type === 'token');
    expect(advance === 0 || (advance === 1 && mayAdvance)).toBe(true);
    expect(progress.retry.exclude.length).toBeLessThanOrEqual(64);
    expect(progress.retry.exclude.every((excluded) => PEERS.includes(excluded))).toBe(true);

    // What is not waited for changes nothing.
    const wanted = 'wait' in before ? before.wait : null;
    const isNews = ['routed', 'unrouted', 'queued'].includes(happening.type);
    if ((isNews && wanted !== 'route') || (happening.type === 'woke' && wanted !== 'delay')) {
      expect([told.state, effects]).toEqual([before, []]);
    }

    // Exactly one thing is waited for, and it was asked for.
    const begun = typesOf(effects).filter((type) => ['ask', 'pause', 'start'].includes(type));
    if (advance === 1 && !isOver(told.state)) expect(begun).toHaveLength(1);
    if (hadRoute && !isOver(told.state) && advance === 1) expect(typesOf(effects)[0]).toBe('leave');
    if ('wait' in told.state && begun.length > 0) {
      expect(begun).toEqual([told.state.wait === 'route' ? 'ask' : 'pause']);
    }
    for (const effect of effects) {
      if (effect.type === 'ask' || effect.type === 'pause') expect(effect.epoch).toBe(progress.retry.epoch);
      if (effect.type === 'start') expect(effect.route.epoch).toBe(progress.retry.epoch);
    }
  }
}

describe('whatever happens to a request', () => {
  it('no token is lost or doubled, epochs rise one by one, and it ends once', () => {
    const phases = new Set<string>();
    const moved = { taken: 0, dropped: 0, epochs: 0 };
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 30, arbitrary: chance }, { weight: 1, arbitrary: end }), {
          maxLength: 80,
        }),
        fc.integer({ min: 1, max: 12 }),
        (chances, maxTokens) => {
          const told = new Told(maxTokens);
          const expected = new Expected();
          for (const chosen of chances) {
            const before = told.state;
            const happening = happeningOf(told, chosen);
            told.nowMs += 1;
            expected.check(told, before, happening, told.tell(happening));
            phases.add(told.state.phase);
          }
          expect(expected.ends).toBe(isOver(told.state) ? 1 : 0);
          const takes = told.effects.flatMap((effect) =>
            effect.type === 'take' ? [effect.token.tokenId] : [],
          );
          expect(takes).toEqual(expected.taken);
          expect(takes).toEqual(takes.map((_, index) => 100 + PROMPT_TOKENS + index));
          moved.taken += takes.length;
          moved.dropped += expected.dropped;
          moved.epochs += told.epoch;
        },
      ),
      { numRuns: 500 },
    );
    // It went everywhere, or it showed nothing.
    expect([...phases].toSorted()).toEqual(
      ['aborted', 'decoding', 'done', 'failed', 'open', 'prefilling', 'rerouting'].toSorted(),
    );
    expect(Math.min(moved.taken, moved.dropped, moved.epochs)).toBeGreaterThan(100);
  });
});

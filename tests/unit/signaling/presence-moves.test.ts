import { beforeEach, describe, expect, it } from 'vitest';
import { newRequestId } from '../../../src/protocol/ids.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import type { ServerMessage } from '../../../src/protocol/signaling.ts';
import {
  DRAIN_LIMIT_MS,
  LOADING_GRACE_MS,
  LOSS_SETTLE_MS,
  MAX_LOSS_SETTLE_MS,
  MOVE_PATIENCE_MS,
  MOVE_REST_MS,
  REBALANCE_INTERVAL_MS,
  URGENT_DRAIN_LIMIT_MS,
} from '../../../signaling/limits.ts';
import { steadyScheduler } from '../../../signaling/scheduler/scheduler.ts';
import type {
  Assignment,
  Placement,
  PlacementInput,
  RebalanceInput,
  RouteInput,
  Scheduler,
} from '../../../signaling/scheduler/types.ts';
import { hopsOf, Stage } from './presence-stage.ts';
import { card, MODEL, peerId, slice } from './scheduler/instances.ts';

const [A, B, C, D, CHAT] = [peerId(1), peerId(2), peerId(3), peerId(4), peerId(9)] as const;
const [FRONT, BACK] = [slice(0, 4), slice(4, 8)];

/** Places as the test says, and routes as the real one does. */
class ScriptedScheduler implements Scheduler {
  plan: readonly (readonly [PeerId, Assignment])[] = [];
  nextMoves: readonly (readonly [PeerId, Assignment])[] | null = null;
  readonly placeInputs: PlacementInput[] = [];
  readonly rebalanceInputs: RebalanceInput[] = [];
  readonly findRoute = (input: RouteInput) => steadyScheduler.findRoute(input);

  place(input: PlacementInput): Placement {
    this.placeInputs.push(input);
    return this.#placement(this.plan, input);
  }

  rebalance(input: RebalanceInput): Placement | null {
    this.rebalanceInputs.push(input);
    return this.nextMoves === null ? null : this.#placement(this.nextMoves, input);
  }

  #placement(plan: readonly (readonly [PeerId, Assignment])[], { nodes }: PlacementInput): Placement {
    const here = new Set(nodes.map(({ peer }) => peer));
    const assignments = new Map(plan.filter(([peer]) => here.has(peer)));
    return { assignments, missing: new Map(), why: ['because'], predicted: new Map() };
  }
}

let scheduler: ScriptedScheduler;
let stage: Stage;
beforeEach(() => {
  scheduler = new ScriptedScheduler();
  stage = new Stage({ scheduler });
  stage.connect(A, B, C, D, CHAT);
});

/** These hold what they hold, loaded. */
function serving(...plan: readonly (readonly [PeerId, Assignment])[]): void {
  scheduler.plan = plan;
  for (const [peer] of plan) stage.join(peer);
  stage.loadAll();
  stage.effects.length = 0;
}

/** The scheduler changes its mind, and is asked by the next to join. */
function replan(plan: readonly (readonly [PeerId, Assignment])[], newcomer: PeerId): void {
  scheduler.plan = plan;
  stage.join(newcomer);
}

function assigned(peer: PeerId): Assignment[] {
  return stage
    .sentTo(peer, 'assign')
    .map(({ model, layerStart, layerEnd }) => ({ model, layerStart, layerEnd }));
}

function ask(): { hops: unknown; end: () => void } {
  const requestId = newRequestId();
  const answer = stage.route(CHAT, { requestId });
  return { hops: hopsOf(answer), end: () => stage.end(CHAT, requestId) };
}

describe('a peer that is to move', () => {
  it('takes no new requests, finishes those it has, and is told when the last is done', () => {
    serving([A, FRONT], [B, BACK], [C, BACK]);
    const one = ask();
    expect(one.hops).toEqual([A, B]);
    replan(
      [
        [A, FRONT],
        [B, FRONT],
        [C, BACK],
        [D, BACK],
      ],
      D,
    );
    expect(assigned(B)).toEqual([]);
    const others = [ask(), ask()];
    expect(others.map(({ hops }) => hops)).toEqual([
      [A, C],
      [A, C],
    ]);
    expect(stage.presence.mesh().members.find(({ peer }) => peer === B)?.state).toBe('serving');
    one.end();
    expect(assigned(B)).toEqual([FRONT]);
    expect(stage.presence.covered()).toEqual([MODEL]);
  });

  it('without requests is told at once', () => {
    serving([A, FRONT], [B, BACK], [C, BACK]);
    replan(
      [
        [A, FRONT],
        [B, FRONT],
        [C, BACK],
      ],
      D,
    );
    expect(assigned(B)).toEqual([FRONT]);
  });

  it('is told after the time limit, whatever it still has', () => {
    serving([A, FRONT], [B, BACK], [C, BACK]);
    ask();
    replan(
      [
        [A, FRONT],
        [B, FRONT],
        [C, BACK],
      ],
      D,
    );
    stage.pass(DRAIN_LIMIT_MS - 1000);
    expect(assigned(B)).toEqual([]);
    stage.pass(1000);
    expect(assigned(B)).toEqual([FRONT]);
  });

  it('is told sooner where its model has a hole that it is to fill', () => {
    serving([A, FRONT], [B, FRONT], [C, BACK]);
    expect(ask().hops).toEqual([A, C]);
    scheduler.plan = [
      [A, BACK],
      [B, FRONT],
    ];
    // Whoever leaves politely still answers what it has begun.
    stage.say(C, { type: 'leave' });
    stage.pass(URGENT_DRAIN_LIMIT_MS - 1000);
    expect(assigned(A)).toEqual([]);
    stage.pass(1000);
    expect(assigned(A)).toEqual([BACK]);
  });

  it('does not wait for answers that nobody can give any more', () => {
    serving([A, FRONT], [B, FRONT], [C, BACK]);
    expect(ask().hops).toEqual([A, C]);
    scheduler.plan = [
      [A, BACK],
      [B, FRONT],
    ];
    stage.disconnect(C);
    stage.pass(LOSS_SETTLE_MS - 100);
    expect(assigned(A)).toEqual([]);
    stage.pass(100);
    expect(assigned(A)).toEqual([BACK]);
  });

  it('stays while somebody who was lost may come back, and so do the answers over both', () => {
    serving([A, FRONT], [B, FRONT], [C, BACK]);
    const { hops, end } = ask();
    expect(hops).toEqual([A, C]);
    const plan = scheduler.plan;
    scheduler.plan = [
      [A, BACK],
      [B, FRONT],
    ];
    stage.disconnect(C);
    stage.pass(LOSS_SETTLE_MS - 100);
    scheduler.plan = plan;
    stage.returnWith(C, BACK);
    stage.pass(MOVE_REST_MS);
    expect([A, B, C].flatMap(assigned)).toEqual([]);
    expect(stage.presence.inFlight(C)).toBe(1);
    end();
    expect(stage.presence.inFlight(C)).toBe(0);
  });

  it('goes on answering, where it drains already and a peer of the same answers is lost for a moment', () => {
    serving([A, FRONT], [B, FRONT], [C, BACK], [D, BACK]);
    expect(ask().hops).toEqual([A, C]);
    scheduler.plan = [
      [A, BACK],
      [B, FRONT],
      [C, BACK],
      [D, BACK],
    ];
    stage.join(D);
    expect(assigned(A)).toEqual([]);
    stage.disconnect(C);
    stage.pass(LOSS_SETTLE_MS - 100);
    expect(assigned(A)).toEqual([]);
    stage.returnWith(C, BACK);
    stage.pass(LOSS_SETTLE_MS);
    expect(assigned(A)).toEqual([]);
  });

  it('is held up no longer than the limit by others who come and go', () => {
    serving([A, FRONT], [B, FRONT], [C, BACK]);
    scheduler.plan = [
      [A, BACK],
      [B, FRONT],
    ];
    stage.disconnect(C);
    for (let passedMs = 0; passedMs < MAX_LOSS_SETTLE_MS; passedMs += 500) {
      expect(assigned(A)).toEqual([]);
      stage.connect(D);
      stage.join(D);
      stage.disconnect(D);
      stage.pass(500);
    }
    expect(assigned(A)).toEqual([BACK]);
  });

  it('goes on serving until those who take its place have loaded', () => {
    serving([A, FRONT], [B, BACK]);
    replan(
      [
        [A, FRONT],
        [B, FRONT],
        [C, BACK],
      ],
      C,
    );
    expect(assigned(C)).toEqual([BACK]);
    stage.pass(60_000);
    expect(assigned(B)).toEqual([]);
    expect(ask().hops).toEqual([A, B]);
    stage.load(C);
    expect(stage.presence.covered()).toEqual([MODEL]);
    expect(ask().hops).toEqual([A, C]);
    stage.pass(DRAIN_LIMIT_MS);
    expect(assigned(B)).toEqual([FRONT]);
    expect(stage.presence.covered()).toEqual([MODEL]);
  });

  it('stays where it is while others load what makes the model whole with it', () => {
    serving([A, FRONT]);
    scheduler.plan = [
      [A, FRONT],
      [B, BACK],
    ];
    stage.join(B);
    replan(
      [
        [A, BACK],
        [B, BACK],
        [C, FRONT],
      ],
      C,
    );
    expect(assigned(A)).toEqual([]);
    stage.load(B);
    expect(stage.presence.covered()).toEqual([MODEL]);
    stage.load(C);
    expect(assigned(A)).toEqual([BACK]);
    expect(stage.presence.covered()).toEqual([MODEL]);
  });

  it('lets another go first when both may not', () => {
    serving([A, FRONT], [B, BACK], [C, BACK]);
    replan(
      [
        [A, FRONT],
        [B, FRONT],
        [C, FRONT],
        [D, BACK],
      ],
      D,
    );
    expect([assigned(B), assigned(C)]).toEqual([[FRONT], []]);
    expect(stage.presence.covered()).toEqual([MODEL]);
    stage.load(D);
    expect(assigned(C)).toEqual([FRONT]);
    expect(stage.presence.covered()).toEqual([MODEL]);
  });

  it('moves at once where its staying would not make the model whole', () => {
    serving([A, slice(0, 3)], [B, slice(3, 6)], [C, slice(6, 8)]);
    scheduler.plan = [
      [A, FRONT],
      [B, BACK],
    ];
    ask();
    stage.disconnect(C);
    stage.pass(LOSS_SETTLE_MS);
    expect([assigned(A), assigned(B)]).toEqual([[FRONT], [BACK]]);
  });

  it('moves at once where the model is given up', () => {
    serving([A, FRONT], [B, BACK]);
    replan(
      [
        [A, slice(0, 2)],
        [B, BACK],
      ],
      D,
    );
    expect(assigned(A)).toEqual([slice(0, 2)]);
  });

  it('stays when the plan is taken back, and takes requests again', () => {
    serving([A, FRONT], [B, BACK], [C, BACK]);
    ask();
    replan(
      [
        [A, FRONT],
        [B, FRONT],
        [C, BACK],
      ],
      D,
    );
    replan(
      [
        [A, FRONT],
        [B, BACK],
        [C, BACK],
      ],
      D,
    );
    stage.pass(DRAIN_LIMIT_MS + 1000);
    expect(assigned(B)).toEqual([]);
    const hops = [ask(), ask(), ask()].map((request) => request.hops);
    expect(hops).toContainEqual([A, B]);
  });

  it('stays, and takes requests again, when its model is not covered without it after a loss', () => {
    serving([A, FRONT], [B, BACK], [C, BACK]);
    ask();
    replan(
      [
        [A, FRONT],
        [B, FRONT],
        [C, BACK],
      ],
      D,
    );
    expect(stage.presence.covered()).toEqual([MODEL]);
    stage.disconnect(C);
    // The scheduler is asked with what B holds, not with what it was to hold.
    expect(scheduler.placeInputs.at(-1)?.current.get(B)).toEqual(BACK);
  });

  it('goes on moving after a loss that its model can bear', () => {
    serving([A, FRONT], [B, BACK], [C, BACK], [D, FRONT]);
    ask();
    replan(
      [
        [A, FRONT],
        [B, FRONT],
        [C, BACK],
        [D, FRONT],
      ],
      A,
    );
    stage.disconnect(D);
    expect(scheduler.placeInputs.at(-1)?.current.get(B)).toEqual(FRONT);
    expect(ask().hops).toEqual([A, C]);
  });

  it('gives up waiting for others in the end', () => {
    // Slices of a size that takes longer than that to load.
    stage = new Stage({ scheduler, models: [card({ bytesPerLayer: 1e9 })] });
    stage.connect(A, B, C);
    serving([A, FRONT], [B, BACK]);
    replan(
      [
        [A, FRONT],
        [B, FRONT],
        [C, BACK],
      ],
      C,
    );
    stage.pass(MOVE_PATIENCE_MS);
    stage.load(C);
    expect(assigned(B)).toEqual([]);
    expect(scheduler.placeInputs.length).toBeGreaterThan(0);
  });

  it('is told to free its slice when no work is left for it', () => {
    serving([A, FRONT], [B, BACK], [C, BACK]);
    const { end } = ask();
    replan(
      [
        [A, FRONT],
        [C, BACK],
      ],
      D,
    );
    expect(stage.sentTo(B, 'unassign')).toEqual([]);
    end();
    expect(stage.sentTo(B, 'unassign')).toHaveLength(1);
    expect(stage.presence.mesh().members.map(({ peer }) => peer)).toEqual([A, C]);
  });

  it('may still say that it loaded what it was told before', () => {
    scheduler.plan = [[A, FRONT]];
    stage.join(A);
    scheduler.plan = [[A, BACK]];
    stage.join(B);
    const late: ServerMessage[] = stage.say(A, { type: 'serving', ...FRONT });
    expect(late.filter(({ type }) => type === 'error')).toEqual([]);
    expect(stage.presence.mesh().members).toMatchObject([{ peer: A, ...BACK, state: 'loading' }]);
    scheduler.plan = [];
    stage.join(B);
    expect(stage.sentTo(A, 'unassign')).toHaveLength(1);
    expect(stage.say(A, { type: 'serving', ...BACK })).toEqual([]);
    expect(stage.say(A, { type: 'serving', ...slice(1, 2) })).toMatchObject([{ type: 'error' }]);
  });
});

describe('what the scheduler is told', () => {
  it('names the weights that peers still have: their own word, and what they held since', () => {
    stage.joinWith(A, [slice(2, 4)]);
    expect(scheduler.placeInputs.at(-1)?.nodes).toMatchObject([{ peer: A, cached: [slice(2, 4)] }]);
    scheduler.plan = [[A, FRONT]];
    stage.join(B);
    stage.loadAll();
    scheduler.plan = [[A, BACK]];
    stage.join(B);
    stage.join(B);
    expect(scheduler.placeInputs.at(-1)?.nodes[0]?.cached).toEqual([FRONT, slice(2, 4)]);
    stage.load(A);
    stage.join(B);
    expect(scheduler.placeInputs.at(-1)?.nodes[0]?.cached).toEqual([BACK, FRONT, slice(2, 4)]);
  });

  it('puts peers into regions by their way to the server, from before they joined too', () => {
    for (const [peer, seconds] of [
      [A, 0.01],
      [B, 0.012],
      [C, 0.3],
    ] as const) {
      stage.handle({ type: 'round-trip', peer, seconds });
      stage.join(peer);
    }
    stage.pass(2000);
    stage.join(D);
    const regions = scheduler.placeInputs.at(-1)?.nodes.map(({ region }) => region);
    expect(regions?.[0]).toBe(regions?.[1]);
    expect(regions?.[2]).not.toBe(regions?.[0]);
  });

  it('is asked now and then whether moving pays, and what it answers is carried out', () => {
    serving([A, FRONT], [B, BACK], [C, BACK]);
    stage.say(B, {
      type: 'report',
      links: [],
      stage: {
        ...BACK,
        steps: 10,
        rows: 10,
        busySeconds: 1,
        seconds: 2,
        activeSequences: 0,
        freeCacheTokens: 2048,
        cacheTokens: 2048,
      },
    });
    stage.pass(REBALANCE_INTERVAL_MS);
    const [input] = scheduler.rebalanceInputs;
    expect([...(input?.busyShares.keys() ?? [])]).toEqual([A, B, C]);
    expect(input?.busyShares.get(B)).toBeGreaterThan(0);
    expect(input?.busyShares.get(C)).toBe(0);
  });
});

describe('moves that are made because they pay', () => {
  const EVEN = [
    [A, FRONT],
    [B, BACK],
    [C, BACK],
  ] as const;
  const UNEVEN = [
    [A, FRONT],
    [B, FRONT],
    [C, BACK],
  ] as const;

  it('wait for each other: nobody is asked again before the last mover has loaded', () => {
    serving(...EVEN);
    const { end } = ask();
    scheduler.nextMoves = UNEVEN;
    stage.pass(REBALANCE_INTERVAL_MS);
    expect(assigned(B)).toEqual([]);
    stage.pass(3 * REBALANCE_INTERVAL_MS);
    end();
    expect(assigned(B)).toEqual([FRONT]);
    stage.pass(3 * REBALANCE_INTERVAL_MS);
    expect(scheduler.rebalanceInputs).toHaveLength(1);
    stage.load(B);
    stage.pass(REBALANCE_INTERVAL_MS);
    expect(scheduler.rebalanceInputs).toHaveLength(2);
  });

  it('do not move a peer again before it has been of use', () => {
    serving(...EVEN);
    scheduler.nextMoves = UNEVEN;
    stage.pass(REBALANCE_INTERVAL_MS);
    stage.load(B);
    scheduler.nextMoves = EVEN;
    const movedMs = stage.nowMs;
    stage.pass(MOVE_REST_MS - 1000);
    expect(assigned(B)).toEqual([FRONT]);
    expect(scheduler.rebalanceInputs.length).toBeGreaterThan(10);
    stage.pass(REBALANCE_INTERVAL_MS + 1000);
    expect(assigned(B)).toEqual([FRONT, BACK]);
    expect(stage.nowMs - movedMs).toBeLessThan(MOVE_REST_MS + 2 * REBALANCE_INTERVAL_MS);
  });

  it('are not spoken of when nothing is left of them', () => {
    serving(...EVEN);
    scheduler.nextMoves = EVEN;
    stage.pass(REBALANCE_INTERVAL_MS);
    expect(scheduler.rebalanceInputs).toHaveLength(1);
    expect(stage.effects.filter(({ type }) => type === 'log')).toEqual([]);
    scheduler.nextMoves = UNEVEN;
    stage.pass(REBALANCE_INTERVAL_MS);
    expect(stage.effects.filter(({ type }) => type === 'log')).toEqual([{ type: 'log', line: 'because' }]);
  });

  it('of a peer that left are forgotten', () => {
    serving(...EVEN);
    scheduler.nextMoves = UNEVEN;
    stage.pass(REBALANCE_INTERVAL_MS);
    expect(assigned(B)).toEqual([FRONT]);
    stage.say(B, { type: 'leave' });
    scheduler.plan = EVEN;
    stage.join(B);
    stage.loadAll();
    stage.effects.length = 0;
    stage.pass(REBALANCE_INTERVAL_MS);
    expect(assigned(B)).toEqual([FRONT]);
  });

  it('leave those alone that are loading, and give work to those that wait', () => {
    serving([A, FRONT], [B, BACK]);
    scheduler.plan = [
      [A, FRONT],
      [B, BACK],
      [C, BACK],
    ];
    stage.join(C, D);
    expect(assigned(C)).toEqual([BACK]);
    scheduler.nextMoves = [
      [A, FRONT],
      [B, BACK],
      [C, FRONT],
      [D, FRONT],
    ];
    stage.pass(REBALANCE_INTERVAL_MS);
    expect([assigned(C), assigned(D)]).toEqual([[BACK], [FRONT]]);
  });
});

describe('a peer that leaves', () => {
  it('gets no new routes while it finishes, and the others are formed anew at once', () => {
    serving([A, FRONT], [B, BACK], [C, BACK]);
    const { hops, end } = ask();
    expect(hops).toEqual([A, B]);
    scheduler.plan = [
      [A, FRONT],
      [C, BACK],
      [D, BACK],
    ];
    stage.join(D);
    stage.say(B, { type: 'leave' });
    expect(ask().hops).toEqual([A, C]);
    expect(stage.presence.inFlight(B)).toBe(1);
    end();
    expect(stage.presence.inFlight(B)).toBe(0);
    expect(scheduler.placeInputs.at(-1)?.nodes.map(({ peer }) => peer)).toEqual([A, C, D]);
  });
});

describe('a peer that hangs while it loads', () => {
  // Slices of a few thousand bytes: the grace, and the next tick.
  const LIMIT_MS = LOADING_GRACE_MS + 1000;

  it('loses its slice to others in the end, and is told', () => {
    serving([A, FRONT]);
    scheduler.plan = [
      [A, FRONT],
      [B, BACK],
    ];
    stage.join(B, C);
    stage.pass(LIMIT_MS - 2000);
    expect(stage.sentTo(B, 'unassign')).toEqual([]);
    expect(stage.presence.mesh().members.map(({ peer }) => peer)).toEqual([A, B]);
    scheduler.plan = [
      [A, FRONT],
      [C, BACK],
    ];
    stage.effects.length = 0;
    scheduler.placeInputs.length = 0;
    stage.pass(2000);
    const sent = stage.takeSent(B);
    expect(sent.filter(({ type }) => type !== 'probe')).toMatchObject([
      { type: 'unassign' },
      { type: 'error', error: { code: 'timeout', message: expect.stringContaining('5 minutes') as string } },
    ]);
    expect(scheduler.placeInputs.map(({ nodes }) => nodes.map(({ peer }) => peer))).toEqual([[A, C]]);
    expect(stage.presence.mesh().members.map(({ peer }) => peer)).toEqual([A, C]);
    stage.load(C);
    expect(stage.presence.covered()).toEqual([MODEL]);
  });

  it('counts as failed to load: it is not believed any more, and may join again', () => {
    scheduler.plan = [[A, FRONT]];
    stage.join(A);
    stage.pass(LIMIT_MS);
    expect(stage.say(A, { type: 'serving', ...FRONT })).toMatchObject([{ type: 'error' }]);
    expect(stage.presence.mesh().members).toEqual([]);
    stage.join(A);
    expect(assigned(A)).toEqual([FRONT, FRONT]);
    stage.pass(LIMIT_MS - 2000);
    expect(stage.presence.mesh().members).toMatchObject([{ peer: A, state: 'loading' }]);
  });

  it('does not pass its slice to another that hangs as well', () => {
    scheduler.plan = [
      [A, FRONT],
      [B, BACK],
    ];
    stage.join(A, B);
    scheduler.placeInputs.length = 0;
    stage.pass(LIMIT_MS);
    expect(scheduler.placeInputs.map(({ nodes }) => nodes)).toEqual([[]]);
    expect(stage.presence.mesh().members).toEqual([]);
  });

  it('has its whole time again for another slice, and not for joining again', () => {
    scheduler.plan = [[A, FRONT]];
    stage.join(A);
    stage.pass(LIMIT_MS - 2000);
    replan([[A, BACK]], D);
    stage.pass(LIMIT_MS - 2000);
    expect(stage.presence.mesh().members).toMatchObject([{ peer: A, state: 'loading' }]);
    stage.join(A);
    stage.pass(2000);
    expect(stage.presence.mesh().members).toEqual([]);
  });

  it('is none that serves, however long', () => {
    serving([A, FRONT], [B, BACK]);
    stage.pass(3 * LIMIT_MS);
    expect(stage.presence.covered()).toEqual([MODEL]);
  });
});

describe('a scheduler that fails', () => {
  it('leaves everything as it is, is reported, and is asked again by the next change', () => {
    serving([A, FRONT], [B, BACK]);
    const place = scheduler.place.bind(scheduler);
    scheduler.place = () => {
      throw new Error('no idea');
    };
    stage.expectsFaults = true;
    stage.disconnect(B);
    stage.join(C);
    expect(stage.effects.filter(({ type }) => type === 'fault')).toMatchObject([
      { error: { code: 'internal', message: 'no idea' } },
      { error: { code: 'internal' } },
    ]);
    expect(stage.effects.filter(({ type }) => type === 'mesh-changed')).toHaveLength(2);
    expect(stage.presence.greeted()).not.toContain(B);
    expect(stage.presence.mesh().members.map(({ peer }) => peer)).toEqual([A]);
    scheduler.place = place;
    scheduler.plan = [
      [A, FRONT],
      [C, BACK],
    ];
    stage.join(D);
    expect(assigned(C)).toEqual([BACK]);
  });
});

describe('before anybody is served', () => {
  it('who loads may be told to load something else, once, and not when others are answered', () => {
    scheduler.plan = [
      [A, FRONT],
      [B, FRONT],
      [C, FRONT],
    ];
    for (const peer of [A, B, C]) stage.join(peer);
    scheduler.nextMoves = [
      [A, FRONT],
      [B, BACK],
      [C, FRONT],
    ];
    stage.pass(REBALANCE_INTERVAL_MS);
    expect(scheduler.rebalanceInputs.map(({ isServed }) => isServed)).toEqual([false]);
    expect(assigned(B)).toEqual([FRONT, BACK]);
    stage.load(A);
    stage.load(B);
    scheduler.nextMoves = [
      [A, FRONT],
      [B, BACK],
      [C, BACK],
    ];
    stage.pass(REBALANCE_INTERVAL_MS);
    expect(scheduler.rebalanceInputs.map(({ isServed }) => isServed)).toEqual([false, true]);
    expect(assigned(C)).toEqual([FRONT]);
  });

  it('a peer with neighbours to come stays, and one that will have none is told at once', () => {
    serving([A, slice(0, 2)]);
    scheduler.plan = [
      [A, slice(0, 2)],
      [B, slice(2, 8)],
    ];
    stage.join(B);
    replan(
      [
        [A, FRONT],
        [B, slice(2, 8)],
        [C, BACK],
      ],
      C,
    );
    expect(assigned(A)).toEqual([]);
    replan(
      [
        [A, FRONT],
        [B, BACK],
        [C, BACK],
        [D, FRONT],
      ],
      D,
    );
    expect(assigned(A)).toEqual([FRONT]);
  });
});

import { beforeEach, describe, expect, it } from 'vitest';
import type { SessionEvent } from '../../../src/mesh/session-events.ts';
import { SignalingSession } from '../../../src/mesh/signaling-session.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { SESSION_STEADY_MS, SIGNALING_RESUME_TIMEOUT_MS } from '../../../src/protocol/limits.ts';
import type { Route } from '../../../src/protocol/route.ts';
import { REPLACED_CLOSE_CODE, SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';
import type { ClientMessage, ServerMessage } from '../../../src/protocol/signaling.ts';
import { TINY } from '../contributor/fakes.ts';
import { FakeSocket } from './fake-socket.ts';
import { MODEL, peerId, requestId, settled } from './local-mesh.ts';
import { ManualClock } from './manual-clock.ts';

const SELF = peerId(5);
const MESH: ServerMessage = { type: 'mesh', members: [], covered: [MODEL] };
const TIME_LIMIT_MS = 100_000;

function query(index: number, epoch = 0) {
  return {
    model: MODEL,
    requestId: requestId(index),
    epoch,
    exclude: [],
    tokens: 64,
    timeLimitMs: TIME_LIMIT_MS,
  };
}

function route(index: number, epoch = 0): Route {
  const hops = [{ peer: peerId(1), layerStart: 0, layerEnd: 3 }];
  return { requestId: requestId(index), epoch, model: MODEL, hops };
}

/** A server that comes and goes. It welcomes whoever connects while it is up. */
class FakeServer {
  readonly sockets: FakeSocket[] = [];
  state: 'up' | 'down' | 'silent' = 'up';
  /** Of the next welcome; null where it gives none. */
  token: string | null = 'token-1';
  /** Whether it gives those who were here before their id again. */
  remembers = true;
  version = SIGNALING_VERSION;
  refusal: SkeinError | null = null;

  readonly createSocket = (): FakeSocket => {
    const socket = new FakeSocket();
    this.sockets.push(socket);
    const { state } = this;
    queueMicrotask(() => {
      if (state === 'down') socket.fire('error');
      if (state === 'up') this.welcome(socket);
    });
    return socket;
  };

  get last(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error('nobody has connected');
    return socket;
  }

  welcome(socket: FakeSocket): void {
    socket.fire('open');
    const [hello] = socket.sent;
    const wants = hello?.type === 'hello' ? hello.resume?.peer : undefined;
    const { token, remembers, version, refusal } = this;
    if (refusal) socket.say({ type: 'error', error: refusal.toShape() });
    else {
      const peer = remembers ? (wants ?? SELF) : peerId(6);
      const resumeToken = token === null ? {} : { resumeToken: token };
      socket.say({ type: 'welcome', version, peer, models: [], iceServers: [], ...resumeToken });
    }
  }

  fall(): void {
    this.state = 'down';
    this.last.fire('close');
  }
}

let server: FakeServer;
let clock: ManualClock;
let session: SignalingSession;
let heard: SessionEvent[];
let ends: string[];

beforeEach(async () => {
  server = new FakeServer();
  clock = new ManualClock();
  heard = [];
  ends = [];
  session = await SignalingSession.connect('ws://server/signal', {
    createSocket: server.createSocket,
    clock,
    random: () => 0.999_999,
  });
  for (const type of ['away', 'resumed', 'signal'] as const) {
    session.on(type, (event) => void heard.push(event));
  }
  session.onClosed(({ code }) => void ends.push(code));
  await settled();
});

/** Time, with what it sets off. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 50) {
    clock.advance(Math.min(50, left));
    await settled();
  }
}

/** @returns the time until the session was back. */
async function timeUntilResumed(): Promise<number> {
  const startedAt = clock.now();
  while (!types().includes('resumed')) {
    if (clock.now() - startedAt > 60_000) throw new Error('the session did not come back in a minute');
    await pass(50);
  }
  return clock.now() - startedAt;
}

const types = () => heard.map(({ type }) => type);
const pauses = () => heard.flatMap((event) => (event.type === 'away' ? [event.retryInMs] : []));

async function routed(index: number): Promise<void> {
  const asking = session.requestRoute(query(index));
  server.last.say({ type: 'route', route: route(index) });
  await asking;
}

describe('the models of a session', () => {
  it('are those that the server named last, in its welcome or since', async () => {
    expect(session.models).toEqual([]);
    server.last.say({ type: 'models', models: [TINY] });
    expect(session.models).toEqual([TINY]);
    server.last.say({ type: 'models', models: [{ ...TINY, isDraining: true }] });
    expect(session.models).toEqual([{ ...TINY, isDraining: true }]);
    server.fall();
    expect(session.models).toHaveLength(1);
    server.state = 'up';
    await timeUntilResumed();
    expect(session.models).toEqual([]);
  });
});

describe('a session whose server goes away', () => {
  it.each([
    [200, 350],
    [3_000, 3_000],
    [40_000, 3_000],
  ])('for %d ms is back under the same id within %d ms', async (outageMs, backWithinMs) => {
    server.token = 'token-2';
    server.fall();
    expect(types()).toEqual(['away']);
    expect(pauses()[0]).toBeLessThanOrEqual(500);
    await pass(outageMs);
    expect(types()).not.toContain('resumed');
    server.state = 'up';
    expect(await timeUntilResumed()).toBeLessThanOrEqual(backWithinMs);
    expect(server.last.sent[0]).toEqual({
      type: 'hello',
      version: SIGNALING_VERSION,
      resume: { peer: SELF, token: 'token-1' },
    });
    expect(Math.max(...pauses())).toBeLessThanOrEqual(4_000);
    expect([session.welcome.peer, session.welcome.resumeToken, ends]).toEqual([SELF, 'token-2', []]);
    expect(clock.pendingTimers).toBe(0);
    const { length } = server.sockets;
    await pass(20_000);
    expect([types().filter((type) => type === 'resumed').length, server.sockets.length]).toEqual([1, length]);
  });

  it('comes back with the latest token, and with what the server offers now', async () => {
    server.fall();
    server.token = 'token-2';
    server.state = 'up';
    await timeUntilResumed();
    expect(heard.at(-1)).toMatchObject({ type: 'resumed', welcome: { resumeToken: 'token-2' } });
    heard = [];
    server.fall();
    server.state = 'up';
    await timeUntilResumed();
    expect(server.last.sent[0]).toMatchObject({ resume: { token: 'token-2' } });
  });

  it('tries at once when somebody will not wait, but once', async () => {
    server.fall();
    server.state = 'silent';
    session.retryNow();
    await settled();
    session.retryNow();
    await settled();
    expect(server.sockets).toHaveLength(2);
    server.welcome(server.last);
    await settled();
    expect([types(), clock.pendingTimers]).toEqual([['away', 'resumed'], 0]);
  });

  it('gives up an attempt that nobody answers, and hears no more of it', async () => {
    server.fall();
    server.state = 'silent';
    await pass(500);
    const [, hung] = server.sockets;
    expect([server.sockets.length, hung?.isClosed]).toEqual([2, false]);
    await pass(SIGNALING_RESUME_TIMEOUT_MS);
    expect([types(), hung?.isClosed]).toEqual([['away', 'away'], true]);
    server.state = 'up';
    await timeUntilResumed();
    if (hung !== undefined) server.welcome(hung);
    hung?.say({ type: 'signal', from: peerId(1), data: 'late' });
    hung?.fire('close');
    await settled();
    expect(types()).toEqual(['away', 'away', 'resumed']);
    session.send({ type: 'leave' });
    expect(server.last.sent.at(-1)).toEqual({ type: 'leave' });
  });

  it('does not hear the connection before', async () => {
    const [first] = server.sockets;
    server.fall();
    server.state = 'up';
    await timeUntilResumed();
    first?.say({ type: 'signal', from: peerId(1), data: 'old' });
    server.last.say({ type: 'signal', from: peerId(1), data: 'new' });
    first?.fire('close');
    await settled();
    expect(heard.at(-1)).toMatchObject({ data: 'new' });
    expect(types()).toEqual(['away', 'resumed', 'signal']);
  });

  it('pauses longer and longer while the server takes it and drops it, until it holds', async () => {
    for (const expectedMs of [500, 1000, 2000, 3000]) {
      heard = [];
      server.fall();
      server.state = 'up';
      expect(Math.ceil(pauses()[0] ?? 0)).toBe(expectedMs);
      await timeUntilResumed();
    }
    heard = [];
    await pass(SESSION_STEADY_MS);
    server.fall();
    expect(Math.ceil(pauses()[0] ?? 0)).toBe(500);
  });

  it('tells late listeners that the server is away, and the mesh as it was', async () => {
    server.last.say(MESH);
    server.fall();
    const late: string[] = [];
    session.on('mesh', ({ type }) => void late.push(type));
    session.on('away', ({ type }) => void late.push(type));
    session.on('away', () => void late.push('stopped'))();
    await settled();
    expect(late).toEqual(['mesh', 'away']);
    server.state = 'up';
    await timeUntilResumed();
    session.on('mesh', () => void late.push('of before'));
    session.on('away', () => void late.push('of before'));
    await settled();
    expect(late).toEqual(['mesh', 'away']);
    server.last.say(MESH);
    expect(late).toEqual(['mesh', 'away', 'mesh', 'of before']);
  });
});

describe('a session that is over', () => {
  it('is one whose id another server gave anew', async () => {
    server.remembers = false;
    server.fall();
    server.state = 'up';
    await pass(500);
    expect([types(), ends]).toEqual([['away'], ['server-lost']]);
    expect(server.last.isClosed).toBe(true);
    await pass(60_000);
    expect([server.sockets.length, clock.pendingTimers]).toEqual([2, 0]);
    await expect(session.requestRoute(query(1))).rejects.toMatchObject({ code: 'server-lost' });
    session.onClosed(({ code }) => void ends.push(`late ${code}`));
    await settled();
    expect(ends).toEqual(['server-lost', 'late server-lost']);
  });

  it('is one that got no token', async () => {
    server.token = null;
    server.fall();
    server.state = 'up';
    await timeUntilResumed();
    server.fall();
    await settled();
    expect([ends, clock.pendingTimers]).toEqual([['server-lost'], 0]);
  });

  it('is one whose server speaks another version now', async () => {
    server.version += 1;
    server.fall();
    server.state = 'up';
    await pass(500);
    expect(ends).toEqual(['bad-message']);
  });

  it('is one whose id another has too, for they would take turns for ever', async () => {
    const replace = () => server.last.fire('close', undefined, REPLACED_CLOSE_CODE);
    replace();
    await timeUntilResumed();
    heard = [];
    await pass(SESSION_STEADY_MS);
    replace();
    await timeUntilResumed();
    expect(ends).toEqual([]);
    replace();
    await pass(60_000);
    expect([ends, server.sockets.length]).toEqual([['server-lost'], 3]);
  });

  it('is none whose server is full for now', async () => {
    server.refusal = new SkeinError('busy', 'full');
    server.fall();
    server.state = 'up';
    await pass(500);
    expect([types(), ends]).toEqual([['away', 'away'], []]);
    server.refusal = null;
    await timeUntilResumed();
  });

  it('is one that was closed from here: in a pause, in an attempt, or connected', async () => {
    server.fall();
    session.close();
    expect(clock.pendingTimers).toBe(0);
    await pass(10_000);
    expect([server.sockets.length, clock.pendingTimers, ends]).toEqual([1, 0, []]);

    const other = new FakeServer();
    const closing = await SignalingSession.connect('ws://server/signal', {
      createSocket: other.createSocket,
      clock,
      random: () => 0,
    });
    other.fall();
    other.state = 'silent';
    await pass(500);
    closing.close();
    await pass(10_000);
    expect([other.sockets.length, other.last.isClosed, clock.pendingTimers]).toEqual([2, true, 0]);

    const third = new FakeServer();
    const { createSocket } = third;
    const open = await SignalingSession.connect('ws://server/signal', { createSocket, clock });
    const asking = expect(open.requestRoute(query(1))).rejects.toMatchObject({ code: 'aborted' });
    open.close();
    await asking;
    third.last.fire('close');
    await pass(10_000);
    expect([third.sockets.length, third.last.isClosed, ends]).toEqual([1, true, []]);
  });

  it('takes no welcome that was on its way when it was closed', async () => {
    server.fall();
    server.state = 'silent';
    await pass(500);
    server.welcome(server.last);
    session.close();
    await settled();
    expect([server.last.isClosed, types()]).toEqual([true, ['away']]);
  });
});

describe('requests over a loss', () => {
  const saidAfterHello = (): ClientMessage[] => server.last.sent.slice(1);

  it('that hold routes are told to the server before anything else, with the time that is left', async () => {
    await routed(1);
    await pass(1_000);
    await routed(2);
    session.on('resumed', () => session.send({ type: 'leave' }));
    server.fall();
    await pass(3_000);
    server.state = 'up';
    const awayMs = 3_000 + (await timeUntilResumed());
    expect(saidAfterHello()).toEqual([
      { type: 'route-resume', route: route(1), tokens: 64, timeLimitMs: TIME_LIMIT_MS - 1_000 - awayMs },
      { type: 'route-resume', route: route(2), tokens: 64, timeLimitMs: TIME_LIMIT_MS - awayMs },
      { type: 'leave' },
    ]);
  });

  it('whose time is over are not', async () => {
    await routed(1);
    await pass(TIME_LIMIT_MS - 200);
    server.fall();
    server.state = 'up';
    await timeUntilResumed();
    expect(saidAfterHello()).toEqual([]);
  });

  it('that end while the server is away are ended when it is back, once', async () => {
    await routed(1);
    await routed(2);
    server.fall();
    session.endRoute(requestId(1), { tokens: 5, seconds: 2 });
    session.endRoute(requestId(1));
    session.endRoute(requestId(9));
    server.state = 'up';
    await timeUntilResumed();
    expect(saidAfterHello()).toMatchObject([
      { type: 'route-end', requestId: requestId(1), outcome: { tokens: 5, seconds: 2 } },
      { type: 'route-resume', route: { requestId: requestId(2) } },
    ]);
    heard = [];
    session.endRoute(requestId(2));
    expect(server.last.sent.at(-1)).toEqual({ type: 'route-end', requestId: requestId(2) });
    server.fall();
    server.state = 'up';
    await timeUntilResumed();
    expect(saidAfterHello()).toEqual([]);
  });

  it('that wait for a route fail, as those that ask while the server is away, and may ask again', async () => {
    await routed(1);
    const waiting = expect(session.requestRoute(query(2))).rejects.toMatchObject({ code: 'server-lost' });
    const again = expect(session.requestRoute(query(1, 1))).rejects.toMatchObject({ code: 'server-lost' });
    server.last.say({ type: 'route-queued', requestId: requestId(2), position: 3 });
    server.fall();
    await Promise.all([waiting, again]);
    await expect(session.requestRoute(query(3))).rejects.toMatchObject({ code: 'server-lost' });
    server.state = 'up';
    await timeUntilResumed();
    // Who lost a route goes first in line, so the server has to know that there was one.
    expect(saidAfterHello()).toMatchObject([{ type: 'route-resume', route: route(1) }]);
    session.endRoute(requestId(1));

    const asking = session.requestRoute(query(2, 1));
    expect(server.last.sent.at(-1)).toMatchObject({ type: 'route-request', requestId: requestId(2) });
    server.last.say({ type: 'route', route: route(2, 1) });
    expect(await asking).toEqual(route(2, 1));
    heard = [];
    server.fall();
    server.state = 'up';
    await timeUntilResumed();
    expect(saidAfterHello()).toMatchObject([{ type: 'route-resume', route: route(2, 1) }]);
  });

  it('that were ended as their route came are not told again', async () => {
    const asking = session.requestRoute(query(1));
    server.last.say({ type: 'route', route: route(1) });
    session.endRoute(requestId(1));
    await asking;
    server.fall();
    server.state = 'up';
    await timeUntilResumed();
    expect(saidAfterHello()).toEqual([]);
  });

  it('give a route back that a server sends for one that failed in the meantime', async () => {
    const waiting = expect(session.requestRoute(query(2))).rejects.toMatchObject({ code: 'server-lost' });
    server.fall();
    await waiting;
    server.state = 'up';
    await timeUntilResumed();
    server.last.say({ type: 'route', route: route(2) });
    expect(saidAfterHello()).toEqual([{ type: 'route-end', requestId: requestId(2) }]);
  });
});

describe('what is said', () => {
  it('while the server is away is said to nobody, also later', async () => {
    server.fall();
    session.send({ type: 'leave' });
    session.suspect(requestId(1), peerId(2), new SkeinError('timeout', 'silent'));
    server.state = 'up';
    await timeUntilResumed();
    session.send({ type: 'signal', to: peerId(1), data: 1 });
    expect(server.last.sent.slice(1)).toEqual([{ type: 'signal', to: peerId(1), data: 1 }]);
  });

  it('of a hop that failed a request is the error, as far as the server takes it', () => {
    const told = (error: SkeinError) => {
      session.suspect(requestId(1), peerId(2), error);
      return server.last.sent.at(-1);
    };
    const named = { type: 'suspect', requestId: requestId(1), peer: peerId(2) };
    const liar = new SkeinError('bad-frame', 'One of them lies.', { data: { otherPeer: peerId(3) } });
    expect(told(liar)).toEqual({ ...named, error: liar.toShape() });

    const brief = { code: 'bad-frame', message: 'x'.repeat(2_000) };
    const long = 'x'.repeat(5_000);
    expect(told(new SkeinError('bad-frame', long))).toEqual({ ...named, error: { ...brief, data: {} } });
    const longData = { data: { rows: long } };
    expect(told(new SkeinError('bad-frame', long, longData))).toEqual({ ...named, error: brief });
    const data = Object.fromEntries(Array.from({ length: 100 }, (_, key) => [key, 'y'.repeat(1_000)]));
    expect(told(new SkeinError('bad-frame', long, { data }))).toEqual({ ...named, error: brief });
  });
});

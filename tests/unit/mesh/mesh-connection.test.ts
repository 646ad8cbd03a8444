import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { MeshConnection, sessionOf } from '../../../src/mesh/mesh-connection.ts';
import { pause } from '../../../src/mesh/pause.ts';
import type { OwnedSession } from '../../../src/mesh/mesh-connection.ts';
import { SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';
import type { ServerMessage } from '../../../src/protocol/signaling.ts';
import { deferred, FakeSession, peerId, settled, TINY } from '../contributor/fakes.ts';
import type { Deferred } from '../contributor/fakes.ts';

class FakeOwnedSession extends FakeSession implements OwnedSession {
  readonly closing = deferred<SkeinError>();
  isDisposed = false;
  retries = 0;

  get closed(): Promise<SkeinError> {
    return this.closing.promise;
  }

  retryNow(): void {
    this.retries += 1;
  }

  dispose(): void {
    this.isDisposed = true;
  }
}

const WELCOME = {
  type: 'welcome' as const,
  version: SIGNALING_VERSION,
  peer: peerId('a'),
  models: [],
  iceServers: [],
} satisfies ServerMessage;
const lost = new SkeinError('server-lost', 'gone');

let attempts: Deferred<FakeOwnedSession>[];
let pauses: { ms: number; done: Deferred<undefined>; signal: AbortSignal }[];
let connection: MeshConnection<FakeOwnedSession>;

beforeEach(() => {
  attempts = [];
  pauses = [];
  connection = new MeshConnection({
    open: () => {
      const attempt = deferred<FakeOwnedSession>();
      attempts.push(attempt);
      return attempt.promise;
    },
    pause: (ms, signal) => {
      const done = deferred<undefined>();
      pauses.push({ ms, done, signal });
      signal.addEventListener('abort', () => done.resolve(undefined));
      return done.promise;
    },
    random: () => 0.5,
  });
});

afterEach(() => connection.dispose());

async function goOnline(seed: string): Promise<FakeOwnedSession> {
  const session = new FakeOwnedSession(seed);
  attempts.at(-1)?.resolve(session);
  await settled();
  return session;
}

describe('MeshConnection', () => {
  it('connects, and shows who is on the mesh', async () => {
    expect(connection.state).toEqual({ phase: 'connecting' });
    const session = await goOnline('a');
    expect(connection.state).toEqual({ phase: 'online', session, mesh: { members: [], covered: [] } });
    session.deliver({ type: 'mesh', members: [], covered: [TINY.id] });
    expect(connection.state).toMatchObject({ mesh: { covered: [TINY.id] } });
  });

  it('tells that the models are others', async () => {
    const session = await goOnline('a');
    let told = 0;
    connection.subscribe(() => (told += 1));
    const before = told;
    session.deliver({ type: 'models', models: [TINY] });
    expect(told).toBe(before + 1);
  });

  it('pauses longer after each failure, and anew after a success', async () => {
    for (const failure of [0, 1, 2]) {
      attempts[failure]?.reject(lost);
      await settled();
      expect(connection.state).toMatchObject({ phase: 'offline', error: lost });
      pauses[failure]?.done.resolve(undefined);
      await settled();
    }
    expect(pauses.map(({ ms }) => ms)).toEqual([375, 750, 1500]);
    const session = await goOnline('a');
    session.closing.resolve(lost);
    await settled();
    expect(pauses.at(-1)?.ms).toBe(375);
  });

  it('connects at once when the person will not wait', async () => {
    attempts[0]?.reject(lost);
    await settled();
    expect(attempts).toHaveLength(1);
    connection.retryNow();
    await settled();
    expect(attempts).toHaveLength(2);
    expect(connection.state.phase).toBe('connecting');
  });

  it('keeps an old session until there is a new one: links need no server', async () => {
    const first = await goOnline('a');
    first.closing.resolve(lost);
    await settled();
    expect(first.isDisposed).toBe(false);
    connection.retryNow();
    await settled();
    const seen: string[] = [];
    connection.subscribe((state) => {
      seen.push(`${state.phase} ${first.isDisposed ? 'after' : 'before'} the old one was disposed`);
    });
    await goOnline('b');
    expect(first.isDisposed).toBe(true);
    expect(seen).toEqual(['online before the old one was disposed']);
  });

  it('shows that the server is away while the session goes on, and the mesh as it was', async () => {
    const session = await goOnline('a');
    const mesh = { members: [], covered: [TINY.id] };
    session.deliver({ type: 'mesh', ...mesh });
    session.deliver({ type: 'away', error: lost, retryInMs: 400 });
    expect(connection.state).toEqual({ phase: 'reconnecting', session, mesh, error: lost, retryInMs: 400 });
    expect([attempts.length, session.isDisposed, sessionOf(connection.state)]).toEqual([1, false, session]);
    connection.retryNow();
    expect(session.retries).toBe(1);
    session.deliver({ type: 'resumed', welcome: WELCOME });
    expect(connection.state).toEqual({ phase: 'online', session, mesh });
    session.deliver({ type: 'mesh', members: [], covered: [] });
    expect(connection.state).toEqual({ phase: 'online', session, mesh: { members: [], covered: [] } });
  });

  it('opens another session when the server does not know this one any more', async () => {
    const first = await goOnline('a');
    first.deliver({ type: 'away', error: lost, retryInMs: 400 });
    first.closing.resolve(lost);
    await settled();
    expect(connection.state).toMatchObject({ phase: 'offline', error: lost, retryInMs: 375 });
    expect([sessionOf(connection.state), connection.latestSession]).toEqual([null, first]);
    first.deliver({ type: 'resumed', welcome: WELCOME });
    expect(connection.state.phase).toBe('offline');
    pauses[0]?.done.resolve(undefined);
    await settled();
    const second = await goOnline('b');
    expect([sessionOf(connection.state), connection.latestSession]).toEqual([second, second]);
  });

  it('does not hear an old session', async () => {
    const first = await goOnline('a');
    first.closing.resolve(lost);
    await settled();
    first.deliver({ type: 'mesh', members: [], covered: [TINY.id] });
    expect(connection.state.phase).toBe('offline');
  });

  it('disposes a session that comes too late', async () => {
    connection.dispose();
    const session = await goOnline('a');
    expect(session.isDisposed).toBe(true);
    expect(connection.state).toEqual({ phase: 'connecting' });
  });

  it('stops trying when disposed', async () => {
    attempts[0]?.reject(lost);
    await settled();
    connection.dispose();
    await settled();
    expect(attempts).toHaveLength(1);
  });
});

describe('pause', () => {
  const AN_HOUR_MS = 3_600_000;

  it('ends on abort, also one that came before', async () => {
    const abort = new AbortController();
    const pausing = pause(AN_HOUR_MS, abort.signal);
    abort.abort();
    await expect(pausing).resolves.toBeUndefined();
    await expect(pause(AN_HOUR_MS, abort.signal)).resolves.toBeUndefined();
  });

  it('ends by itself', async () => {
    await expect(pause(0, new AbortController().signal)).resolves.toBeUndefined();
  });
});

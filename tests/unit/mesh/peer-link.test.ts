import { describe, expect, it } from 'vitest';
import { encodeControl, splitFrame } from '../../../src/mesh/framing.ts';
import type { Connect, PeerConnection, PeerConnectionOptions } from '../../../src/mesh/peer-connection.ts';
import { PeerMesh } from '../../../src/mesh/peer-mesh.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import {
  BAN_MS,
  BROKEN_LINK_STRIKES,
  DIAL_REFILL_MS,
  DIAL_RETRY_MS,
  DIAL_TIMEOUT_MS,
  LINK_IDLE_MS,
  LINK_SILENCE_MS,
  LINK_WINDOW_BYTES,
  MAX_DIAL_BURST,
  MAX_INCOMING_LINKS,
  MAX_LINK_QUEUE_BYTES,
  MAX_OUTGOING_LINKS,
  MAX_MESSAGE_BURST,
  MAX_SIGNALS_PER_DIAL,
  MAX_STRIKES,
  MAX_WAITING_BYTES,
  SUSPICION_MS,
} from '../../../src/protocol/limits.ts';
import { InMemoryRelay } from '../../mesh/signal-relay.ts';
import { FakePipe } from './fake-pipe.ts';
import { peerId, settled } from './local-mesh.ts';
import { ManualClock } from './manual-clock.ts';

const [LOW, SELF, HIGH] = [peerId(1), peerId(0x80), peerId(0xff)];
const OFFER = { type: 'offer', sdp: 'an offer' } as const;
const ANSWER = { type: 'answer', sdp: 'an answer' } as const;
const attemptName = (index: number) => index.toString(16).padStart(16, '0');

/** A connection that does what the test says. */
interface FakeConnection extends PeerConnectionOptions {
  readonly pipe: FakePipe;
  readonly signals: unknown[];
  isClosed: boolean;
}

/** One peer with fake connections, and everybody else as raw signals. */
function lonePeer({
  isAlive = true,
  explain,
}: { isAlive?: boolean; explain?: (error: SkeinError) => Promise<SkeinError> } = {}) {
  const relay = new InMemoryRelay();
  const clock = new ManualClock();
  const connections: FakeConnection[] = [];
  const connect: Connect = (options): PeerConnection => {
    const connection: FakeConnection = {
      ...options,
      pipe: new FakePipe(isAlive),
      signals: [],
      isClosed: false,
    };
    connections.push(connection);
    return {
      signal: (signal) => connection.signals.push(signal),
      close: () => (connection.isClosed = true),
    };
  };
  const mesh = new PeerMesh({
    self: SELF,
    signaling: relay.client(SELF),
    iceServers: [],
    clock,
    connect,
    ...(explain && { explainDialError: explain }),
  });
  for (const peer of [LOW, HIGH]) relay.client(peer);
  const lost: PeerId[] = [];
  const reasons: string[] = [];
  mesh.onPeerLost((peer, { code }) => {
    lost.push(peer);
    reasons.push(code);
  });
  const connection = (index: number): FakeConnection => {
    const found = connections[index];
    if (!found) throw new Error(`There is no connection ${index}.`);
    return found;
  };
  const forge = async (from: PeerId, data: unknown) => {
    relay.forge(from, SELF, data);
    await settled();
  };
  return { relay, clock, mesh, lost, reasons, connections, connection, forge };
}

/** Follows a promise without waiting for it. */
function outcomeOf(promise: Promise<void>): { state: string } {
  const outcome = { state: 'waiting' };
  promise.then(
    () => (outcome.state = 'sent'),
    (error: unknown) => (outcome.state = error instanceof SkeinError ? error.code : String(error)),
  );
  return outcome;
}

const BYTE = Uint8Array.of(1);
const pattern = (sizeBytes: number) => [...splitFrame(new Uint8Array(sizeBytes))];

describe('dialling', () => {
  it('offers to a peer with a larger id, at once, under a name for the attempt', () => {
    const { mesh, relay, connections, connection } = lonePeer();
    outcomeOf(mesh.send(HIGH, BYTE));
    connection(0).onSignal(OFFER);
    expect(connections).toHaveLength(1);
    expect(connection(0).isInitiator).toBe(true);
    expect(relay.log).toMatchObject([{ to: HIGH, data: { kind: 'rtc', signal: OFFER } }]);
  });

  it('asks a peer with a smaller id and answers its offer', async () => {
    const { mesh, relay, connections, connection, forge } = lonePeer();
    const outcome = outcomeOf(mesh.send(LOW, BYTE));
    expect(relay.log).toMatchObject([{ to: LOW, data: { kind: 'ask' } }]);
    expect(connections).toHaveLength(0);
    const { attempt } = relay.log[0]?.data as { attempt: string };
    await forge(LOW, { kind: 'rtc', attempt, signal: OFFER });
    expect(connection(0).isInitiator).toBe(false);
    expect(connection(0).signals).toEqual([OFFER]);
    connection(0).onOpen(connection(0).pipe);
    await settled();
    expect(outcome.state).toBe('sent');
  });

  it('times out, closes what it began, and dials anew on the next send', async () => {
    for (const remote of [LOW, HIGH]) {
      const { mesh, clock, connections, relay } = lonePeer();
      const outcomes = [mesh.send(remote, BYTE), mesh.send(remote, BYTE)].map(outcomeOf);
      clock.advance(DIAL_TIMEOUT_MS - 1);
      await settled();
      expect(outcomes.map(({ state }) => state)).toEqual(['waiting', 'waiting']);
      clock.advance(1);
      await settled();
      expect(outcomes.map(({ state }) => state)).toEqual(['timeout', 'timeout']);
      expect(connections.every(({ isClosed }) => isClosed)).toBe(true);
      expect(mesh.linkedPeers).toEqual([]);
      const signalsBefore = relay.log.length + connections.length;
      outcomeOf(mesh.send(remote, BYTE));
      expect(relay.log.length + connections.length).toBe(signalsBefore + 1);
    }
  });

  it('has no deadline any more once it succeeded', async () => {
    const { mesh, clock, connection, lost } = lonePeer();
    const sent = mesh.send(HIGH, BYTE);
    connection(0).onOpen(connection(0).pipe);
    await sent;
    clock.advance(2 * DIAL_TIMEOUT_MS);
    expect({ lost, links: mesh.linkedPeers, timers: clock.pendingTimers }).toEqual({
      lost: [],
      links: [HIGH],
      // The next look at whether the link is silent.
      timers: 1,
    });
  });

  it('tries a connection that fails once more, and then names the peer', async () => {
    const { mesh, connections, connection, relay } = lonePeer();
    const outcome = outcomeOf(mesh.send(HIGH, BYTE));
    const failing = mesh.send(HIGH, BYTE);
    connection(0).onSignal(OFFER);
    connection(0).onClosed(new SkeinError('peer-lost', 'ICE failed'));
    await settled();
    expect(outcome.state).toBe('waiting');
    connection(1).onSignal(OFFER);
    const [first, second] = relay.log.map(({ data }) => (data as { attempt: string }).attempt);
    expect(second).not.toBe(first);
    connection(1).onClosed(new SkeinError('peer-lost', 'ICE failed'));
    await expect(failing).rejects.toMatchObject({ code: 'peer-lost', data: { peer: HIGH } });
    expect({ dials: connections.length, links: mesh.linkedPeers }).toEqual({ dials: 2, links: [] });
  });

  it('sends over the second try what waited for the first', async () => {
    const { mesh, connection, clock } = lonePeer();
    const sent = mesh.send(HIGH, BYTE);
    connection(0).onClosed(new SkeinError('peer-lost', 'ICE failed'));
    clock.advance(DIAL_TIMEOUT_MS - 1);
    connection(1).onOpen(connection(1).pipe);
    await sent;
    expect(connection(1).pipe.sent).toHaveLength(1);
  });

  it('asks again for an offer when the connection failed', async () => {
    const { mesh, relay, connection, forge } = lonePeer();
    outcomeOf(mesh.send(LOW, BYTE));
    const attempts = () => relay.log.map(({ data }) => (data as { attempt: string }).attempt);
    await forge(LOW, { kind: 'rtc', attempt: attempts()[0], signal: OFFER });
    connection(0).onClosed(new SkeinError('peer-lost', 'ICE failed'));
    expect(relay.log.filter(({ from }) => from === SELF)).toMatchObject([
      { data: { kind: 'ask' } },
      { data: { kind: 'ask' } },
    ]);
    expect(new Set(attempts()).size).toBe(2);
  });

  it('gives both tries no more than the time of one', async () => {
    const { mesh, connection, clock } = lonePeer();
    const outcome = outcomeOf(mesh.send(HIGH, BYTE));
    clock.advance(DIAL_TIMEOUT_MS - 10);
    connection(0).onClosed(new SkeinError('peer-lost', 'ICE failed'));
    clock.advance(10);
    await settled();
    expect(outcome.state).toBe('timeout');
  });

  it('does not try again for nobody: the other end, which wanted the link, does', async () => {
    const { mesh, connections, connection, forge } = lonePeer();
    await forge(LOW, { kind: 'rtc', attempt: attemptName(1), signal: OFFER });
    connection(0).onClosed(new SkeinError('peer-lost', 'ICE failed'));
    expect({ dials: connections.length, links: mesh.linkedPeers }).toEqual({ dials: 1, links: [] });
  });

  it('asks once more when nothing was heard, and not when the other end is at it', async () => {
    const { mesh, relay, clock, connections, connection, forge } = lonePeer();
    outcomeOf(mesh.send(LOW, BYTE));
    clock.advance(DIAL_RETRY_MS - 1);
    expect(relay.log).toHaveLength(1);
    clock.advance(1);
    expect(relay.log).toHaveLength(2);
    outcomeOf(mesh.send(HIGH, BYTE));
    connection(0).onSignal(OFFER);
    const { attempt } = relay.log[2]?.data as { attempt: string };
    await forge(HIGH, { kind: 'rtc', attempt, signal: ANSWER });
    clock.advance(DIAL_RETRY_MS);
    expect(connections).toHaveLength(1);
  });

  it('says all again that was said while the server was away', async () => {
    const { mesh, relay, connections, connection } = lonePeer();
    outcomeOf(mesh.send(LOW, BYTE));
    outcomeOf(mesh.send(HIGH, BYTE));
    const third = mesh.send(peerId(0xf0), BYTE);
    connection(1).onOpen(connection(1).pipe);
    await third;
    mesh.dialAgain();
    expect(relay.log.filter(({ to }) => to === LOW)).toHaveLength(2);
    expect(connections.map(({ isClosed }) => isClosed)).toEqual([true, false, false]);
  });

  it('leaves it to the other end to begin anew what only that one wanted', async () => {
    const { mesh, relay, connections, connection, forge } = lonePeer();
    await forge(LOW, { kind: 'rtc', attempt: attemptName(1), signal: OFFER });
    await forge(HIGH, { kind: 'ask', attempt: attemptName(2) });
    mesh.dialAgain();
    expect({ dials: connections.length, closed: connection(0).isClosed || connection(1).isClosed }).toEqual({
      dials: 2,
      closed: false,
    });
    expect(relay.log.filter(({ from }) => from === SELF)).toEqual([]);
  });

  it('says what is known of why a peer cannot be reached', async () => {
    const { mesh, connection, clock } = lonePeer({
      explain: (error: SkeinError) =>
        Promise.resolve(new SkeinError(error.code, 'forbidden', { data: { ...error.data, why: 'rules' } })),
    });
    const failing = mesh.send(HIGH, BYTE);
    clock.advance(DIAL_TIMEOUT_MS);
    await expect(failing).rejects.toMatchObject({
      code: 'timeout',
      message: 'forbidden',
      data: { peer: HIGH, why: 'rules' },
    });
    const sent = mesh.send(HIGH, BYTE);
    connection(2).onOpen(connection(2).pipe);
    await sent;
    const lostOnTheWay = mesh.send(HIGH, new Uint8Array(4 * 1024 * 1024));
    await settled();
    connection(2).onClosed(new SkeinError('peer-lost', 'gone'));
    await expect(lostOnTheWay).rejects.toMatchObject({ message: 'gone' });
  });

  it('fails when the other side has too many links', async () => {
    const { mesh, relay, connection, forge } = lonePeer();
    const outcome = outcomeOf(mesh.send(HIGH, BYTE));
    connection(0).onSignal(OFFER);
    const { attempt } = relay.log[0]?.data as { attempt: string };
    await forge(HIGH, { kind: 'refuse', attempt: attemptName(99) });
    expect(outcome.state).toBe('waiting');
    await forge(HIGH, { kind: 'refuse', attempt });
    expect(outcome.state).toBe('peer-lost');
  });

  it('fails at once where there is no WebRTC', async () => {
    const relay = new InMemoryRelay();
    const connect = () => {
      throw new Error('No WebRTC support');
    };
    const mesh = new PeerMesh({ self: SELF, signaling: relay.client(SELF), iceServers: [], connect });
    await expect(mesh.send(HIGH, BYTE)).rejects.toMatchObject({ code: 'no-route', data: { peer: HIGH } });
    expect(mesh.linkedPeers).toEqual([]);
  });

  it('sends in the order of the calls, whether they came before or after the link was open', async () => {
    const { mesh, connection } = lonePeer();
    const sends = [1, 2, 3].map((value) => mesh.send(HIGH, Uint8Array.of(value)));
    connection(0).onOpen(connection(0).pipe);
    sends.push(mesh.send(HIGH, Uint8Array.of(4)));
    await Promise.all(sends);
    expect(connection(0).pipe.sent.map((message) => message.at(-1))).toEqual([1, 2, 3, 4]);
  });

  it('queues no more than the limit for one link', async () => {
    const { mesh, connection } = lonePeer();
    const half = new Uint8Array(MAX_LINK_QUEUE_BYTES / 2);
    const outcomes = [mesh.send(HIGH, half), mesh.send(HIGH, half), mesh.send(HIGH, BYTE)].map(outcomeOf);
    await settled();
    expect(outcomes.map(({ state }) => state)).toEqual(['waiting', 'waiting', 'busy']);
    connection(0).onClosed(new SkeinError('peer-lost', 'gone'));
    connection(1).onClosed(new SkeinError('peer-lost', 'gone'));
    await settled();
    outcomes.push(outcomeOf(mesh.send(HIGH, BYTE)));
    await settled();
    expect(outcomes.map(({ state }) => state)).toEqual(['peer-lost', 'peer-lost', 'busy', 'waiting']);
  });

  it('counts only what still waits', async () => {
    const { mesh, connection } = lonePeer();
    const largest = new Uint8Array(MAX_LINK_QUEUE_BYTES / 2);
    const sends = [mesh.send(HIGH, largest), mesh.send(HIGH, largest)];
    const { pipe } = connection(0);
    connection(0).onOpen(pipe);
    const outcomes = sends.map(outcomeOf);
    while (outcomes.some(({ state }) => state === 'waiting')) {
      await settled();
      pipe.drainTo(0);
    }
    await mesh.send(HIGH, BYTE);
    expect(pipe.sent.at(-1)?.at(-1)).toBe(1);
  });

  it('believes the server that a peer is absent only while there is no link', async () => {
    const { mesh, relay, connection, lost } = lonePeer();
    const absent = peerId(0xffff);
    const failing = mesh.send(absent, BYTE);
    connection(0).onSignal(OFFER);
    await expect(failing).rejects.toMatchObject({ code: 'peer-lost', data: { peer: absent } });
    const sent = mesh.send(HIGH, BYTE);
    connection(1).onOpen(connection(1).pipe);
    await sent;
    relay.remove(HIGH);
    connection(1).onSignal(OFFER);
    await settled();
    expect({ lost, links: mesh.linkedPeers }).toEqual({ lost: [], links: [HIGH] });
  });

  it('stops at the largest number of links', async () => {
    const { mesh } = lonePeer();
    for (let index = 0; index < MAX_OUTGOING_LINKS; index += 1)
      outcomeOf(mesh.send(peerId(0x1000 + index), BYTE));
    await expect(mesh.send(peerId(0x9000), BYTE)).rejects.toMatchObject({ code: 'busy' });
  });
});

describe('being dialled', () => {
  it('drops signals of earlier attempts and the other direction', async () => {
    const { mesh, connections, connection, forge } = lonePeer();
    await forge(LOW, { kind: 'rtc', attempt: attemptName(1), signal: OFFER });
    await forge(LOW, { kind: 'rtc', attempt: attemptName(2), signal: OFFER });
    expect(connection(0).isClosed).toBe(true);
    const candidate = { type: 'candidate', candidate: { candidate: 'c', sdpMLineIndex: 0, sdpMid: '0' } };
    await forge(LOW, { kind: 'rtc', attempt: attemptName(1), signal: candidate });
    await forge(LOW, { kind: 'rtc', attempt: attemptName(2), signal: candidate });
    await forge(LOW, { kind: 'rtc', attempt: attemptName(2), signal: OFFER });
    await forge(LOW, { kind: 'rtc', attempt: attemptName(2), signal: ANSWER });
    expect(connection(0).signals).toEqual([OFFER]);
    expect(connection(1).signals).toEqual([OFFER, candidate]);
    connection(0).onOpen(connection(0).pipe);
    connection(0).onClosed(new SkeinError('peer-lost', 'the first attempt'));
    expect(connections).toHaveLength(2);
    expect(mesh.linkedPeers).toEqual([LOW]);
  });

  it('is asked for the same attempt twice without beginning anew', async () => {
    const { connections, forge } = lonePeer();
    await forge(HIGH, { kind: 'ask', attempt: attemptName(3) });
    await forge(HIGH, { kind: 'ask', attempt: attemptName(3) });
    expect(connections).toHaveLength(1);
    await forge(HIGH, { kind: 'ask', attempt: attemptName(4) });
    expect(connections.map(({ isClosed }) => isClosed)).toEqual([true, false]);
  });

  it('takes one answer to an offer', async () => {
    const { mesh, relay, connection, forge } = lonePeer();
    outcomeOf(mesh.send(HIGH, BYTE));
    connection(0).onSignal(OFFER);
    const { attempt } = relay.log[0]?.data as { attempt: string };
    for (const signal of [ANSWER, ANSWER, OFFER]) await forge(HIGH, { kind: 'rtc', attempt, signal });
    await forge(HIGH, { kind: 'rtc', attempt: attemptName(9), signal: OFFER });
    expect(connection(0).isClosed).toBe(false);
    expect(connection(0).signals).toEqual([ANSWER]);
  });

  it('replaces an open link when the other end has forgotten it, and says that it was lost', async () => {
    const { mesh, lost, connection, forge } = lonePeer();
    const first = mesh.send(HIGH, BYTE);
    connection(0).onOpen(connection(0).pipe);
    await first;
    const frameInFlight = outcomeOf(mesh.send(HIGH, new Uint8Array(4 * 1024 * 1024)));
    await settled();
    await forge(HIGH, { kind: 'ask', attempt: attemptName(7) });
    expect({ lost, closed: connection(0).isClosed, state: frameInFlight.state }).toEqual({
      lost: [HIGH],
      closed: true,
      state: 'peer-lost',
    });
    connection(1).onOpen(connection(1).pipe);
    await mesh.send(HIGH, BYTE);
    expect(connection(1).pipe.sent).toHaveLength(1);
  });

  it('lets whoever hears of a loss send again at once', async () => {
    const { mesh, connections, connection } = lonePeer();
    const first = mesh.send(HIGH, BYTE);
    connection(0).onOpen(connection(0).pipe);
    await first;
    let again = { state: 'never' };
    mesh.onPeerLost((peer) => (again = outcomeOf(mesh.send(peer, BYTE))));
    connection(0).onClosed(new SkeinError('peer-lost', 'gone'));
    expect(connections).toHaveLength(2);
    connection(1).onOpen(connection(1).pipe);
    await settled();
    expect(again.state).toBe('sent');
    expect(mesh.linkedPeers).toEqual([HIGH]);
  });

  it('keeps no more links than the limit, and says so to the next', async () => {
    const { mesh, relay, forge } = lonePeer();
    for (let index = 1; index <= MAX_INCOMING_LINKS; index += 1) {
      await forge(peerId(0x1000 + index), { kind: 'ask', attempt: attemptName(index) });
    }
    expect(mesh.linkedPeers).toHaveLength(MAX_INCOMING_LINKS);
    await forge(HIGH, { kind: 'ask', attempt: attemptName(0x77) });
    expect(mesh.linkedPeers).toHaveLength(MAX_INCOMING_LINKS);
    expect(relay.log.at(-1)).toEqual({
      from: SELF,
      to: HIGH,
      data: { kind: 'refuse', attempt: attemptName(0x77) },
    });
  });

  it('makes room at the cost of the link that was idle for longest, but for no less than the limit', async () => {
    const { mesh, clock, connections, connection, forge, lost } = lonePeer();
    for (let index = 1; index <= MAX_INCOMING_LINKS; index += 1) {
      await forge(peerId(0x1000 + index), { kind: 'ask', attempt: attemptName(index) });
      connection(index - 1).onOpen(connection(index - 1).pipe);
    }
    clock.advance(1);
    const [frame = new Uint8Array()] = splitFrame(BYTE);
    connection(0).pipe.deliver(frame);
    await mesh.send(peerId(0x1002), BYTE);
    clock.advance(LINK_IDLE_MS - 2);
    await forge(HIGH, { kind: 'ask', attempt: attemptName(0x77) });
    expect(connections).toHaveLength(MAX_INCOMING_LINKS);
    clock.advance(1);
    await forge(HIGH, { kind: 'ask', attempt: attemptName(0x78) });
    expect(lost).toEqual([peerId(0x1003)]);
    expect(mesh.linkedPeers).toContain(HIGH);
    expect(mesh.linkedPeers).toHaveLength(MAX_INCOMING_LINKS);
  });

  it('ends a dial that drowns in signals', async () => {
    const { mesh, connection, forge } = lonePeer();
    await forge(LOW, { kind: 'rtc', attempt: attemptName(1), signal: OFFER });
    const candidate = { type: 'candidate', candidate: { candidate: 'c' } };
    for (let index = 1; index < MAX_SIGNALS_PER_DIAL; index += 1) {
      await forge(LOW, { kind: 'rtc', attempt: attemptName(1), signal: candidate });
    }
    expect(connection(0).isClosed).toBe(false);
    await forge(LOW, { kind: 'rtc', attempt: attemptName(1), signal: candidate });
    expect(connection(0).isClosed).toBe(true);
    expect(mesh.linkedPeers).toEqual([]);
  });

  it.each([
    ['no object', 'hello'],
    ['an unknown kind', { kind: 'dance', attempt: attemptName(1) }],
    ['a bad attempt', { kind: 'ask', attempt: 'x' }],
    [
      'a description over the cap',
      { kind: 'rtc', attempt: attemptName(1), signal: { ...OFFER, sdp: 'x'.repeat(40_000) } },
    ],
    [
      'a renegotiation',
      { kind: 'rtc', attempt: attemptName(1), signal: { type: 'renegotiate', renegotiate: true } },
    ],
    ['a request for video', { kind: 'rtc', attempt: attemptName(1), signal: { type: 'transceiverRequest' } }],
  ])('rejects and counts %s', async (_name, data) => {
    const { mesh, connections, forge } = lonePeer();
    await forge(LOW, data);
    expect(mesh.rejectedSignals).toBe(1);
    expect(connections).toHaveLength(0);
    expect(mesh.linkedPeers).toEqual([]);
  });

  it('makes no link for signals that do not ask for one', async () => {
    const { mesh, connections, forge } = lonePeer();
    await forge(LOW, { kind: 'ask', attempt: attemptName(1) });
    await forge(HIGH, { kind: 'rtc', attempt: attemptName(1), signal: OFFER });
    await forge(HIGH, { kind: 'rtc', attempt: attemptName(1), signal: ANSWER });
    await forge(LOW, { kind: 'refuse', attempt: attemptName(1) });
    expect(connections).toHaveLength(0);
    expect(mesh.linkedPeers).toEqual([]);
  });

  it('closes the link when the other end does not speak frames', async () => {
    const { mesh, lost, reasons, connection, forge } = lonePeer();
    await forge(LOW, { kind: 'rtc', attempt: attemptName(1), signal: OFFER });
    connection(0).onOpen(connection(0).pipe);
    connection(0).pipe.deliver(Uint8Array.of(1, 2, 3));
    expect({ lost, reasons, links: mesh.linkedPeers, closed: connection(0).isClosed }).toEqual({
      lost: [LOW],
      reasons: ['peer-lost'],
      links: [],
      closed: true,
    });
  });
});

describe('a peer', () => {
  it('reaches itself, later and with bytes of its own', async () => {
    const { mesh } = lonePeer();
    const heard: [PeerId, number[]][] = [];
    mesh.onFrame((from, frame) => heard.push([from, [...frame]]));
    const bytes = Uint8Array.of(1, 2);
    const sent = mesh.send(SELF, bytes);
    expect(heard).toEqual([]);
    bytes.fill(9);
    await sent;
    await settled();
    expect(heard).toEqual([[SELF, [1, 2]]]);
  });

  it('that leaves closes its links, fails its sends, and tells its own listeners once', async () => {
    const { mesh, lost, connection, clock } = lonePeer();
    const outcome = outcomeOf(mesh.send(HIGH, BYTE));
    mesh.dispose();
    mesh.dispose();
    await settled();
    await expect(mesh.send(HIGH, BYTE)).rejects.toMatchObject({ code: 'aborted' });
    expect({
      state: outcome.state,
      closed: connection(0).isClosed,
      lost,
      timers: clock.pendingTimers,
    }).toEqual({
      state: 'aborted',
      closed: true,
      lost: [HIGH],
      timers: 0,
    });
  });
});

describe('a peer that the server lists no more', () => {
  const linked = async () => {
    const rig = lonePeer({ isAlive: false });
    outcomeOf(rig.mesh.send(HIGH, BYTE));
    rig.connection(0).onOpen(rig.connection(0).pipe);
    await settled();
    rig.relay.announce([HIGH, LOW]);
    rig.connection(0).pipe.echoes.length = 0;
    return rig;
  };

  it('is lost unless it answers', async () => {
    const { relay, clock, lost, connection } = await linked();
    relay.announce([LOW]);
    expect(connection(0).pipe.echoes.map(({ kind }) => kind)).toEqual(['ping']);
    clock.advance(SUSPICION_MS - 1);
    expect(lost).toEqual([]);
    clock.advance(1);
    expect(lost).toEqual([HIGH]);
    expect(connection(0).isClosed).toBe(true);
  });

  it('stays when it answers: it may finish what it has', async () => {
    const { relay, clock, lost, connection } = await linked();
    relay.announce([]);
    const { pipe } = connection(0);
    pipe.hear({ kind: 'pong', nonce: pipe.echoes[0]?.nonce ?? 0 });
    clock.advance(SUSPICION_MS);
    expect(lost).toEqual([]);
  });

  it('is not asked while it is listed, nor when it never was', async () => {
    const { relay, connection } = await linked();
    relay.announce([HIGH]);
    relay.announce([HIGH]);
    expect(connection(0).pipe.echoes).toEqual([]);
    const stranger = lonePeer();
    outcomeOf(stranger.mesh.send(HIGH, BYTE));
    stranger.connection(0).onOpen(stranger.connection(0).pipe);
    await settled();
    stranger.connection(0).pipe.echoes.length = 0;
    stranger.relay.announce([LOW]);
    stranger.relay.announce([]);
    expect(stranger.connection(0).pipe.echoes).toEqual([]);
  });
});

describe('a peer that is silent, goes, or does what nobody honest does', () => {
  const linked = async (isAlive = true) => {
    const rig = lonePeer({ isAlive });
    const misbehaved: [PeerId, string][] = [];
    rig.mesh.onMisbehaved((peer, { code }) => misbehaved.push([peer, code]));
    const sent = rig.mesh.send(HIGH, BYTE);
    rig.connection(0).onOpen(rig.connection(0).pipe);
    await sent;
    return { ...rig, misbehaved, pipe: rig.connection(0).pipe };
  };
  const wrong = new SkeinError('bad-frame', 'A frame is wrong.');

  it('is lost after its silence, once, and may be dialled again', async () => {
    const { mesh, clock, lost, reasons, misbehaved, connections } = await linked(false);
    clock.advance(LINK_SILENCE_MS - 1);
    expect(lost).toEqual([]);
    clock.advance(LINK_SILENCE_MS);
    expect({ lost, reasons, misbehaved }).toEqual({ lost: [HIGH], reasons: ['peer-lost'], misbehaved: [] });
    outcomeOf(mesh.send(HIGH, BYTE));
    expect(connections).toHaveLength(2);
  });

  it('is lost at once when it says goodbye, and hears goodbye from who leaves', async () => {
    const { mesh, lost, reasons, pipe } = await linked();
    pipe.hear({ kind: 'bye' });
    expect({ lost, reasons }).toEqual({ lost: [HIGH], reasons: ['peer-lost'] });
    const other = await linked();
    other.mesh.dispose();
    expect(other.pipe.notices).toEqual([{ kind: 'bye' }]);
    expect(mesh.linkedPeers).toEqual([]);
  });

  it('is forgiven some frames that were refused, and banned for more', async () => {
    const { mesh, clock, lost, reasons, misbehaved, forge, relay, connections } = await linked();
    for (let strike = 0; strike < MAX_STRIKES; strike += 1) mesh.reject(HIGH, wrong);
    expect({ lost, misbehaved }).toEqual({ lost: [], misbehaved: [] });
    mesh.reject(HIGH, wrong);
    mesh.reject(HIGH, wrong);
    expect({ lost, reasons, misbehaved }).toEqual({
      lost: [HIGH],
      reasons: ['bad-frame'],
      misbehaved: [[HIGH, 'bad-frame']],
    });
    await expect(mesh.send(HIGH, BYTE)).rejects.toMatchObject({ code: 'bad-frame', data: { peer: HIGH } });
    await forge(HIGH, { kind: 'ask', attempt: attemptName(1) });
    expect(relay.log.at(-1)?.data).toEqual({ kind: 'refuse', attempt: attemptName(1) });
    await forge(HIGH, { kind: 'refuse', attempt: attemptName(1) });
    expect(connections).toHaveLength(1);
    clock.advance(BAN_MS);
    await forge(HIGH, { kind: 'ask', attempt: attemptName(2) });
    expect(connections).toHaveLength(2);
  });

  it('is banned when its link breaks again and again', async () => {
    const { mesh, connection, misbehaved, lost } = await linked();
    const breaks = MAX_STRIKES / BROKEN_LINK_STRIKES;
    for (let round = 0; round <= breaks; round += 1) {
      connection(round).pipe.deliver(Uint8Array.of(9, 9, 9, 9, 9));
      if (round === breaks) break;
      expect(misbehaved).toEqual([]);
      const sent = mesh.send(HIGH, BYTE);
      connection(round + 1).onOpen(connection(round + 1).pipe);
      await sent;
    }
    expect(misbehaved).toEqual([[HIGH, 'bad-frame']]);
    expect(lost).toHaveLength(breaks + 1);
  });

  it('is banned at once for a flood', async () => {
    const { lost, reasons, misbehaved, pipe } = await linked();
    const ping = encodeControl({ kind: 'ping', nonce: 1 });
    for (let count = 0; count <= MAX_MESSAGE_BURST; count += 1) pipe.deliver(ping);
    expect({ lost, reasons, misbehaved }).toEqual({
      lost: [HIGH],
      reasons: ['bad-frame'],
      misbehaved: [[HIGH, 'bad-frame']],
    });
  });

  it('goes when too much of all peers waits here, and it has the most', async () => {
    const { mesh, forge, connection, connections, lost, reasons } = lonePeer();
    mesh.onFrame(() => new Promise(() => undefined));
    const [light, heavy] = [pattern(LINK_WINDOW_BYTES - 8192), pattern(LINK_WINDOW_BYTES + 128 * 1024)];
    const peers = MAX_WAITING_BYTES / LINK_WINDOW_BYTES;
    expect(peers).toBeLessThan(MAX_INCOMING_LINKS);
    for (let index = 0; index < peers; index += 1) {
      await forge(peerId(0x1000 + index), { kind: 'ask', attempt: attemptName(index) });
      connection(index).onOpen(connection(index).pipe);
      for (const message of index === 3 ? heavy : light) connection(index).pipe.deliver(message);
    }
    expect(connections).toHaveLength(peers);
    expect(lost).toEqual([]);
    // Parts of frames count as well.
    const [part = new Uint8Array()] = light;
    for (let index = 5; lost.length === 0 && index < peers; index += 1) connection(index).pipe.deliver(part);
    expect({ lost, reasons }).toEqual({ lost: [peerId(0x1003)], reasons: ['busy'] });
  });

  it('goes before members do, and before those that were dialled from here', async () => {
    const { mesh, relay, forge, connection, lost } = lonePeer();
    mesh.onFrame(() => new Promise(() => undefined));
    const messages = pattern(LINK_WINDOW_BYTES);
    const part = pattern(LINK_WINDOW_BYTES / 2)[0] ?? new Uint8Array();
    const peers = MAX_WAITING_BYTES / LINK_WINDOW_BYTES - 1;
    relay.announce(Array.from({ length: peers - 1 }, (_, index) => peerId(0x1001 + index)));
    await settled();
    for (let index = 0; index < peers; index += 1) {
      await forge(peerId(0x1000 + index), { kind: 'ask', attempt: attemptName(index) });
      connection(index).onOpen(connection(index).pipe);
      // The one that is no member has the least here.
      for (const message of index === 0 ? [part] : messages) connection(index).pipe.deliver(message);
    }
    const sent = mesh.send(HIGH, BYTE);
    connection(peers).onOpen(connection(peers).pipe);
    await sent;
    for (let count = 0; lost.length === 0 && count < 4; count += 1) {
      for (const message of messages) connection(peers).pipe.deliver(message);
    }
    expect(lost[0]).toBe(peerId(0x1000));
  });

  it('may have a few connections begun at once, and then not many', async () => {
    const { clock, connections, lost, misbehaved, forge } = await linked();
    let attempts = 100;
    const ask = () => forge(HIGH, { kind: 'ask', attempt: attemptName((attempts += 1)) });
    for (let count = 0; count < MAX_DIAL_BURST; count += 1) await ask();
    expect(connections).toHaveLength(1 + MAX_DIAL_BURST);
    await ask();
    expect(connections).toHaveLength(1 + MAX_DIAL_BURST);
    clock.advance(DIAL_REFILL_MS);
    await ask();
    expect(connections).toHaveLength(2 + MAX_DIAL_BURST);
    expect({ lost, misbehaved }).toEqual({ lost: [HIGH], misbehaved: [] });
    for (let strike = 0; strike <= MAX_STRIKES; strike += 1) await ask();
    expect(misbehaved).toEqual([[HIGH, 'bad-message']]);
  });

  it('does not answer for others, nor for itself', async () => {
    const { mesh, lost, misbehaved } = await linked();
    for (let strike = 0; strike < 3 * MAX_STRIKES; strike += 1) {
      mesh.reject(LOW, wrong);
      mesh.reject(SELF, wrong);
    }
    expect({ lost, misbehaved }).toEqual({ lost: [], misbehaved: [[LOW, 'bad-frame']] });
    await mesh.send(SELF, BYTE);
    await mesh.send(HIGH, BYTE);
  });
});

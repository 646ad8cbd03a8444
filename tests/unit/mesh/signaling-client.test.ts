import { describe, expect, it } from 'vitest';
import { SignalingClient } from '../../../src/mesh/signaling-client.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { ROUTE_REQUEST_TIMEOUT_MS, SIGNALING_CONNECT_TIMEOUT_MS } from '../../../src/protocol/limits.ts';
import type { Route } from '../../../src/protocol/route.ts';
import { SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';
import type { ServerMessage } from '../../../src/protocol/signaling.ts';
import { FakeSocket } from './fake-socket.ts';
import { MODEL, peerId, requestId, settled } from './local-mesh.ts';
import { ManualClock } from './manual-clock.ts';

const WELCOME: ServerMessage = {
  type: 'welcome',
  version: SIGNALING_VERSION,
  peer: peerId(5),
  models: [],
  iceServers: [],
};
const MESH: ServerMessage = { type: 'mesh', members: [], covered: [MODEL] };
const QUERY = {
  model: MODEL,
  requestId: requestId(1),
  epoch: 2,
  exclude: [peerId(9)],
  tokens: 64,
  timeLimitMs: 1000,
};
const ROUTE: Route = {
  requestId: requestId(1),
  epoch: 2,
  model: MODEL,
  hops: [{ peer: peerId(1), layerStart: 0, layerEnd: 3 }],
};

function connecting(signal?: AbortSignal) {
  const socket = new FakeSocket();
  const clock = new ManualClock();
  const client = SignalingClient.connect('ws://server/signal', {
    createSocket: () => socket,
    clock,
    ...(signal && { signal }),
  });
  return { socket, clock, client };
}

async function connected() {
  const { socket, clock, client } = connecting();
  socket.fire('open');
  socket.say(WELCOME);
  return { socket, clock, client: await client };
}

describe('connecting', () => {
  it('says hello with its version and takes the welcome', async () => {
    const { socket, client, clock } = await connected();
    expect(socket.sent).toEqual([{ type: 'hello', version: SIGNALING_VERSION }]);
    expect(client.welcome.peer).toBe(peerId(5));
    expect(clock.pendingTimers).toBe(0);
  });

  it('says who it was, and takes the id that it is given', async () => {
    const resume = { peer: peerId(5), token: 'secret' };
    const socket = new FakeSocket();
    const client = SignalingClient.connect('ws://server/signal', { createSocket: () => socket, resume });
    socket.fire('open');
    socket.say({ ...WELCOME, peer: peerId(6) });
    expect((await client).welcome.peer).toBe(peerId(6));
    expect(socket.sent).toEqual([{ type: 'hello', version: SIGNALING_VERSION, resume }]);
  });

  it('gives up when the server does not answer in time', async () => {
    const { socket, clock, client } = connecting();
    const failing = expect(client).rejects.toMatchObject({ code: 'timeout' });
    socket.fire('open');
    clock.advance(SIGNALING_CONNECT_TIMEOUT_MS);
    await failing;
    expect(socket.isClosed).toBe(true);
  });

  it('gives up when told to, before and during', async () => {
    await expect(connecting(AbortSignal.abort()).client).rejects.toMatchObject({ code: 'aborted' });
    const controller = new AbortController();
    const { socket, client, clock } = connecting(controller.signal);
    const failing = expect(client).rejects.toMatchObject({ code: 'aborted' });
    controller.abort();
    await failing;
    expect([socket.isClosed, clock.pendingTimers]).toEqual([true, 0]);
  });

  it.each(['close', 'error'] as const)('reports %s as a lost server', async (event) => {
    const { socket, client } = connecting();
    const failing = expect(client).rejects.toMatchObject({ code: 'server-lost' });
    socket.fire(event);
    await failing;
  });

  it('throws what the server refuses with', async () => {
    const { socket, client } = connecting();
    const failing = expect(client).rejects.toMatchObject({ code: 'busy', message: 'full' });
    socket.say({ type: 'error', error: { code: 'busy', message: 'full' } });
    await failing;
  });

  it.each([
    ['another version', JSON.stringify({ ...WELCOME, version: 99 })],
    ['something else first', JSON.stringify(MESH)],
    ['no JSON', 'welcome!'],
    ['bytes', new ArrayBuffer(3)],
  ])('refuses a server that says %s', async (_name, data) => {
    const { socket, client } = connecting();
    const failing = expect(client).rejects.toMatchObject({ code: 'bad-message' });
    socket.fire('message', data);
    await failing;
    expect(socket.isClosed).toBe(true);
  });

  it('refuses an address that is none', async () => {
    const createSocket = () => {
      throw new SyntaxError('not a URL');
    };
    await expect(SignalingClient.connect('::', { createSocket })).rejects.toMatchObject({
      code: 'bad-argument',
    });
  });
});

describe('a connection', () => {
  it('gives messages to those who listen for their type, until they stop', async () => {
    const { socket, client } = await connected();
    const heard: string[] = [];
    const stop = client.on('signal', ({ data }) => heard.push(String(data)));
    client.on('unassign', () => heard.push('unassign'));
    socket.say({ type: 'signal', from: peerId(1), data: 'one' });
    stop();
    socket.say({ type: 'signal', from: peerId(1), data: 'two' });
    socket.say({ type: 'unassign' });
    expect(heard).toEqual(['one', 'unassign']);
  });

  it('tells the state of the mesh to whoever begins to listen after it came', async () => {
    const { socket, client } = await connected();
    socket.say(MESH);
    const covered: unknown[] = [];
    client.on('mesh', (mesh) => covered.push(mesh.covered));
    const stop = client.on('mesh', () => covered.push('stopped'));
    stop();
    await settled();
    expect(covered).toEqual([[MODEL]]);
  });

  it('counts what it cannot read and goes on', async () => {
    const { socket, client } = await connected();
    const heard: string[] = [];
    client.on('unassign', () => heard.push('unassign'));
    for (const data of ['{', '{"type":"riot"}', '[]', 'x'.repeat(70_000), new ArrayBuffer(1), undefined]) {
      socket.fire('message', data);
    }
    socket.say({ type: 'unassign' });
    expect([client.rejectedMessages, heard]).toEqual([6, ['unassign']]);
  });

  it('reports its loss once, to late listeners too, and says nothing more', async () => {
    const { socket, client } = await connected();
    const codes: string[] = [];
    client.onClosed(({ code }) => codes.push(code));
    const stop = client.onClosed(() => codes.push('stopped'));
    stop();
    socket.fire('error');
    socket.fire('close');
    client.onClosed(({ code }) => codes.push(`late ${code}`));
    client.send({ type: 'leave' });
    await settled();
    expect(codes).toEqual(['server-lost', 'late server-lost']);
    expect(socket.sent).toHaveLength(1);
    await expect(client.requestRoute(QUERY)).rejects.toMatchObject({ code: 'server-lost' });
  });

  it('is not lost when it is closed from here', async () => {
    const { socket, client } = await connected();
    const codes: string[] = [];
    client.onClosed(({ code }) => codes.push(code));
    const failing = expect(client.requestRoute(QUERY)).rejects.toMatchObject({ code: 'aborted' });
    client.close();
    socket.fire('close');
    await failing;
    await settled();
    expect([codes, socket.isClosed]).toEqual([[], true]);
  });
});

describe('asking for a route', () => {
  it('sends the query and takes the route of the same request and epoch', async () => {
    const { socket, client, clock } = await connected();
    const route = client.requestRoute(QUERY, new AbortController().signal);
    expect(socket.sent.at(-1)).toEqual({ type: 'route-request', ...QUERY });
    socket.say({ type: 'route', route: { ...ROUTE, requestId: requestId(7) } });
    socket.say({ type: 'route', route: { ...ROUTE, epoch: 1 } });
    socket.say({ type: 'route', route: ROUTE });
    expect(await route).toEqual(ROUTE);
    expect(clock.pendingTimers).toBe(0);
  });

  it('throws what it is denied with', async () => {
    const { socket, client } = await connected();
    const denied = expect(client.requestRoute(QUERY)).rejects.toEqual(
      new SkeinError('no-route', 'Nobody holds layer 3.', { data: { layer: 3 } }),
    );
    const error = { code: 'no-route', message: 'Nobody holds layer 3.', data: { layer: 3 } } as const;
    socket.say({
      type: 'route-denied',
      requestId: requestId(8),
      error: { code: 'busy', message: 'another' },
    });
    socket.say({ type: 'route-denied', requestId: requestId(1), error });
    await denied;
  });

  it('waits in the queue as long as the server speaks, and tells every new place', async () => {
    const { socket, client, clock } = await connected();
    const places: number[] = [];
    const route = client.requestRoute(QUERY, undefined, (position) => places.push(position));
    const say = (position: number, id = 1) =>
      socket.say({ type: 'route-queued', requestId: requestId(id), position });
    for (const position of [3, 3, 2, 2, 1]) {
      clock.advance(ROUTE_REQUEST_TIMEOUT_MS - 1);
      say(position);
      say(9, 7);
    }
    clock.advance(ROUTE_REQUEST_TIMEOUT_MS - 1);
    socket.say({ type: 'route', route: ROUTE });
    expect(await route).toEqual(ROUTE);
    say(4);
    expect(places).toEqual([3, 2, 1]);
    expect([clock.pendingTimers, socket.sent.length]).toEqual([0, 2]);
  });

  it('gives up its place when the server falls silent, or when told to', async () => {
    const { socket, client, clock } = await connected();
    const controller = new AbortController();
    for (const [end, code] of [
      [() => clock.advance(ROUTE_REQUEST_TIMEOUT_MS), 'timeout'],
      [() => controller.abort(), 'aborted'],
    ] as const) {
      const failing = expect(client.requestRoute(QUERY, controller.signal)).rejects.toMatchObject({ code });
      socket.say({ type: 'route-queued', requestId: requestId(1), position: 2 });
      clock.advance(ROUTE_REQUEST_TIMEOUT_MS - 1);
      end();
      await failing;
      expect(socket.sent.at(-1)).toEqual({ type: 'route-end', requestId: requestId(1) });
    }
    expect(socket.sent).toHaveLength(5);
    expect(clock.pendingTimers).toBe(0);
  });

  it('gives back a route that comes when nobody waits for it any more', async () => {
    const { socket, client } = await connected();
    const controller = new AbortController();
    const failing = expect(client.requestRoute(QUERY, controller.signal)).rejects.toMatchObject({
      code: 'aborted',
    });
    controller.abort();
    await failing;
    const before = socket.sent.length;
    socket.say({ type: 'route', route: ROUTE });
    expect(socket.sent.slice(before)).toEqual([{ type: 'route-end', requestId: requestId(1) }]);
  });

  it('keeps a request that asked again when the route it asked for first comes late', async () => {
    const { socket, client } = await connected();
    const controller = new AbortController();
    const failing = expect(client.requestRoute(QUERY, controller.signal)).rejects.toMatchObject({
      code: 'aborted',
    });
    controller.abort();
    await failing;
    const again = client.requestRoute({ ...QUERY, epoch: 3 });
    const before = socket.sent.length;
    socket.say({ type: 'route', route: ROUTE });
    socket.say({ type: 'route', route: { ...ROUTE, epoch: 3 } });
    expect((await again).epoch).toBe(3);
    expect(socket.sent).toHaveLength(before);
    client.endRoute(QUERY.requestId, { tokens: 5, seconds: 2 });
    expect(socket.sent.at(-1)).toEqual({
      type: 'route-end',
      requestId: QUERY.requestId,
      outcome: { tokens: 5, seconds: 2 },
    });
  });

  it('ends with the deadline, the signal or the connection', async () => {
    const { socket, client, clock } = await connected();
    const late = expect(client.requestRoute(QUERY)).rejects.toMatchObject({ code: 'timeout' });
    clock.advance(ROUTE_REQUEST_TIMEOUT_MS);
    await late;
    const controller = new AbortController();
    const aborted = expect(client.requestRoute(QUERY, controller.signal)).rejects.toMatchObject({
      code: 'aborted',
    });
    controller.abort();
    await aborted;
    const lost = expect(client.requestRoute(QUERY)).rejects.toMatchObject({ code: 'server-lost' });
    socket.fire('close');
    await lost;
    expect(clock.pendingTimers).toBe(0);
  });
});

import { once } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { newRequestId } from '../../../src/protocol/ids.ts';
import { CACHE_RESERVE_TOKENS, MAX_SIGNALING_BYTES } from '../../../src/protocol/limits.ts';
import { CACHE_OVERCOMMIT, HELLO_TIMEOUT_MS, MAX_STRIKES, MESSAGE_BURST } from '../../../signaling/limits.ts';
import { Presence } from '../../../signaling/presence.ts';
import { MODEL } from './scheduler/instances.ts';
import {
  CAPABILITY,
  contribute,
  JOIN,
  ManualBeat,
  openRaw,
  readAll,
  routeRequest,
  serve,
  ServerRig,
} from './server-rig.ts';
import { SignalClient } from './signal-client.ts';

const POLICY_VIOLATION = 1008;
const MESSAGE_TOO_BIG = 1009;
const CUT_OFF = 1006;
const GOING_AWAY = 1001;

const rig = new ServerRig();
const start = rig.start.bind(rig);
const { logLines } = rig;
afterEach(() => rig.stopAll());

describe('a mesh over real sockets', () => {
  it('forms, answers, loses a peer, says so, and forms again', async () => {
    const { url } = await start({ stages: 2 });
    const [first, second] = [await contribute(url), await contribute(url)];
    const chat = await SignalClient.greeted(url);
    await Promise.all([serve(first), serve(second)]);
    await chat.next('mesh', ({ covered }) => covered.includes(MODEL));
    chat.send(routeRequest());
    const { route } = await chat.next('route');
    expect(route.hops).toEqual([
      { peer: first.peer, layerStart: 0, layerEnd: 4 },
      { peer: second.peer, layerStart: 4, layerEnd: 8 },
    ]);
    expect(await (await fetch(`${url}/healthz`)).json()).toMatchObject({
      status: 'ok',
      peers: 3,
      contributors: 2,
      requests: 1,
      covered: [MODEL],
    });

    first.socket.terminate();
    await chat.next('mesh', ({ members, covered }) => members.length === 1 && covered.length === 0);
    chat.send(routeRequest());
    expect((await chat.next('route-denied')).error).toMatchObject({
      code: 'no-route',
      message: 'model cannot answer now: layers 0–3 are held by nobody; waiting for 1 more peer.',
    });

    const third = await contribute(url);
    await serve(third);
    await chat.next('mesh', ({ covered }) => covered.includes(MODEL));
    chat.send(routeRequest());
    const { route: again } = await chat.next('route');
    expect(again.hops.map(({ peer }) => peer)).toEqual([third.peer, second.peer]);
  });

  it('lets requests wait for room, and tells them so as time passes', async () => {
    const ticks = new ManualBeat();
    const { url } = await start({ everyTick: ticks.every });
    const lender = await contribute(url);
    await serve(lender);
    const [ann, bob] = [await SignalClient.greeted(url), await SignalClient.greeted(url)];
    await bob.next('mesh', ({ covered }) => covered.includes(MODEL));
    const [first, second] = [newRequestId(), newRequestId()];
    const all = CACHE_RESERVE_TOKENS;
    for (let count = 1; count < CACHE_OVERCOMMIT; count += 1) {
      ann.send(routeRequest(newRequestId(), all));
      await ann.next('route');
    }
    ann.send(routeRequest(first, all));
    await ann.next('route');
    bob.send(routeRequest(second, all));
    expect(await bob.next('route-queued')).toEqual({ type: 'route-queued', requestId: second, position: 1 });
    expect(await (await fetch(`${url}/healthz`)).json()).toMatchObject({ requests: 2, queued: 1 });
    const now = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 6_000);
    ticks.beat();
    expect((await bob.next('route-queued')).position).toBe(1);
    now.mockRestore();
    ann.send({ type: 'route-end', requestId: first, outcome: { tokens: 10, seconds: 2 } });
    expect((await bob.next('route')).route.requestId).toBe(second);
  });

  it('measures the way to whoever says hello', async () => {
    const handle = vi.spyOn(Presence.prototype, 'handle');
    const { url } = await start();
    const { peer } = await SignalClient.greeted(url);
    await vi.waitFor(() => {
      const roundTrips = handle.mock.calls.flatMap(([event]) => (event.type === 'round-trip' ? [event] : []));
      expect(roundTrips).toEqual([{ type: 'round-trip', peer, seconds: expect.any(Number) as number }]);
      expect(roundTrips[0]?.seconds).toBeLessThan(5);
    });
    handle.mockRestore();
  });

  it('ticks by itself', async () => {
    const handle = vi.spyOn(Presence.prototype, 'handle');
    await start();
    await vi.waitFor(() => expect(handle).toHaveBeenCalledWith({ type: 'tick' }), { timeout: 3_000 });
    handle.mockRestore();
  });

  it('relays signals between the two that want to meet', async () => {
    const { url } = await start();
    const [one, other] = [await SignalClient.greeted(url), await SignalClient.greeted(url)];
    one.send({ type: 'signal', to: other.peer, data: { type: 'offer', sdp: 'v=0' } });
    expect(await other.next('signal')).toEqual({
      type: 'signal',
      from: one.peer,
      data: { type: 'offer', sdp: 'v=0' },
    });
  });

  it('tells a burst of changes in one message', async () => {
    const { url } = await start();
    const watcher = await SignalClient.greeted(url);
    await watcher.next('mesh');
    const lender = await SignalClient.greeted(url);
    const CHANGES = 20;
    for (let change = 0; change < CHANGES; change += 1) lender.send(JOIN);
    await watcher.next('mesh', ({ members }) => members.length === 1);
    lender.send({ type: 'leave' });
    await watcher.next('mesh', ({ members }) => members.length === 0);
    // The burst may be read in two parts, not in twenty.
    expect(watcher.received.filter(({ type }) => type === 'mesh').length).toBeLessThan(CHANGES / 2);
  });

  it('says goodbye when it stops, and frees the port', async () => {
    const server = await start();
    const client = await SignalClient.greeted(server.url);
    await Promise.all([server.close(), server.close()]);
    expect(await client.closed).toBe(GOING_AWAY);
    const next = await start({ port: server.port });
    expect(next.port).toBe(server.port);
  });

  it('says in words that its port is taken', async () => {
    const { port } = await start();
    const failure = await start({ port }).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(SkeinError);
    expect(failure).toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining(`Port ${port} on 127.0.0.1 is in use`) as string,
    });
  });
});

describe('clients that do not behave', () => {
  it.each([
    ['text that is not JSON', 'hello?'],
    ['an unknown type', '{"type":"shutdown"}'],
    ['no object', '[]'],
    ['a field of the wrong kind', '{"type":"join","capability":{"memoryBytes":"all of it"}}'],
    ['numbers that are none', '{"type":"join","capability":{"memoryBytes":1e999}}'],
    ['binary', Buffer.from([0, 1, 2, 255])],
  ])('are told about %s, and go on', async (_, payload) => {
    const { url } = await start();
    const client = await SignalClient.greeted(url);
    client.socket.send(payload);
    expect((await client.next('error')).error.code).toBe('bad-message');
    client.send(JOIN);
    expect(await client.next('assign')).toMatchObject({ model: MODEL });
  });

  it('are not shown their own megabytes in the error', async () => {
    const { url } = await start();
    const client = await SignalClient.greeted(url);
    client.socket.send(JSON.stringify({ type: 'x'.repeat(60_000) }));
    expect((await client.next('error')).error.message.length).toBeLessThanOrEqual(1000);
  });

  it('are closed after too many refused messages, while the others stay', async () => {
    const { url } = await start();
    const [bad, good] = [await SignalClient.greeted(url), await SignalClient.greeted(url)];
    for (let count = 0; count < MAX_STRIKES; count += 1) bad.socket.send('garbage');
    expect(await bad.closed).toBe(POLICY_VIOLATION);
    expect(bad.received.filter(({ type }) => type === 'error')).toHaveLength(MAX_STRIKES);
    good.send(JOIN);
    expect(await good.next('assign')).toMatchObject({ model: MODEL });
  });

  it('are closed when they flood, and leave nothing behind', async () => {
    const { url } = await start();
    const flooder = await contribute(url);
    for (let count = 0; count < 2 * MESSAGE_BURST; count += 1) flooder.send(routeRequest());
    expect(await flooder.closed).toBe(POLICY_VIOLATION);
    expect((await flooder.next('error')).error.code).toBe('busy');
    const after = await SignalClient.greeted(url);
    expect(await after.next('mesh')).toEqual({ type: 'mesh', members: [], covered: [] });
  });

  it('say as much as they like where they are the gateway of the server itself', async () => {
    const gateways = new Set<string>();
    const { url } = await start({ isGateway: (peer) => gateways.has(peer) });
    const gateway = await SignalClient.greeted(url);
    gateways.add(gateway.peer);
    const last = newRequestId();
    for (let count = 0; count < 2 * MESSAGE_BURST; count += 1) gateway.send(routeRequest());
    gateway.send(routeRequest(last));
    const isLast = ({ requestId }: { readonly requestId: string }) => requestId === last;
    expect(await gateway.next('route-denied', isLast)).toMatchObject({ error: { code: 'no-route' } });
  });

  it('are closed by an oversized message before it is read', async () => {
    const { url } = await start();
    const client = await SignalClient.greeted(url);
    client.socket.send('x'.repeat(MAX_SIGNALING_BYTES + 1));
    expect(await client.closed).toBe(MESSAGE_TOO_BIG);
  });

  it('are cut when they stop answering pings, and their layers are free again', async () => {
    const pings = new ManualBeat();
    const { url } = await start({ everyPing: pings.every });
    const watcher = await SignalClient.greeted(url);
    const dead = await SignalClient.greeted(url, { autoPong: false });
    dead.send(JOIN);
    await watcher.next('mesh', ({ members }) => members.length === 1);

    pings.beat();
    await once(watcher.socket, 'ping');
    // Messages keep their order: with this answer, the watcher's pong has arrived.
    watcher.send(routeRequest());
    await watcher.next('route-denied');
    pings.beat();
    expect(await dead.closed).toBe(CUT_OFF);
    await watcher.next('mesh', ({ members }) => members.length === 0);
    watcher.send(JOIN);
    expect(await watcher.next('assign')).toMatchObject({ model: MODEL });
  });

  it('are cut when they never say hello, whatever else they say', async () => {
    const ticks = new ManualBeat();
    const { url } = await start({ everyTick: ticks.every });
    const mute = await SignalClient.connect(url);
    mute.send({ type: 'leave' });
    expect((await mute.next('error')).error.message).toContain('before "hello"');
    const now = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + HELLO_TIMEOUT_MS - 1000);
    ticks.beat();
    mute.send({ type: 'leave' });
    await mute.next('error');
    now.mockReturnValue(performance.now() + 1000);
    ticks.beat();
    expect(await mute.closed).toBe(CUT_OFF);
    now.mockRestore();
  });

  it('get only so many sockets from one address', async () => {
    const { url } = await start({ maxSocketsPerAddress: 2 });
    const [first] = [await SignalClient.greeted(url), await SignalClient.greeted(url)];
    await expect(SignalClient.connect(url)).rejects.toThrow('429');
    first.socket.terminate();
    await first.closed;
    // The server hears of the end in its own time; until then it says 429.
    const again = await retryUntilOpen(url);
    expect(again.peer).toMatch(/^[0-9a-f]{32}$/);
  });

  it('are told apart by X-Forwarded-For only where a proxy is trusted', async () => {
    const from = (address: string) => ({ headers: { 'x-forwarded-for': `1.2.3.4, ${address}` } });
    const trusting = await start({ maxSocketsPerAddress: 1, trustProxy: true });
    await SignalClient.greeted(trusting.url, from('10.0.0.1'));
    await SignalClient.greeted(trusting.url, from('10.0.0.2'));
    await expect(SignalClient.connect(trusting.url, from('10.0.0.2'))).rejects.toThrow('429');

    const plain = await start({ maxSocketsPerAddress: 1 });
    await SignalClient.greeted(plain.url, from('10.0.0.1'));
    await expect(SignalClient.connect(plain.url, from('10.0.0.2'))).rejects.toThrow('429');
  });

  it('cannot upgrade elsewhere, nor break the server with a bad handshake', async () => {
    const server = await start();
    const elsewhere = await openRaw(server);
    elsewhere.write('GET /other HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    expect(await readAll(elsewhere)).toContain('404 Not Found');
    const broken = await openRaw(server);
    broken.write('GET /signal HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    expect(await readAll(broken)).toContain('400 Bad Request');
    const noise = await openRaw(server);
    noise.write('\x16\x03\x01 not http at all\r\n\r\n');
    expect(await readAll(noise)).toContain('400 Bad Request');
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  });

  it('cannot forge lines of the log', async () => {
    const { url } = await start();
    const client = await SignalClient.greeted(url);
    client.send({ ...JOIN, capability: { ...CAPABILITY, adapter: 'GPU\n\u001b[31mforged' } });
    await client.next('assign');
    const line = logLines.find((text) => text.includes('forged'));
    expect(line).toContain('GPU [31mforged');
  });
});

async function retryUntilOpen(url: string): Promise<Awaited<ReturnType<typeof SignalClient.greeted>>> {
  try {
    return await SignalClient.greeted(url);
  } catch {
    return retryUntilOpen(url);
  }
}

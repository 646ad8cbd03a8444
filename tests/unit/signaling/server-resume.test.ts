import { once } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { newPeerId, newRequestId } from '../../../src/protocol/ids.ts';
import { REPLACED_CLOSE_CODE } from '../../../src/protocol/signaling.ts';
import { MAX_RESUME_SETTLE_MS } from '../../../signaling/limits.ts';
import { MODEL } from './scheduler/instances.ts';
import { contribute, JOIN, ManualBeat, routeRequest, serve, ServerRig } from './server-rig.ts';
import { SignalClient } from './signal-client.ts';

const secret = Buffer.from('the secret of this test, long enough');

const rig = new ServerRig();
const start = rig.start.bind(rig);
afterEach(async () => {
  vi.restoreAllMocks();
  await rig.stopAll();
});

describe('a peer whose connection broke', () => {
  it('gets its id back with its token, and another with any other', async () => {
    const { url } = await start({ secret });
    const { peer, token, socket } = await SignalClient.greeted(url);
    socket.terminate();
    expect(await SignalClient.resumed(url, { peer, token })).toMatchObject({ peer, token });
    const stranger = await SignalClient.greeted(url);
    const wrong = [
      { peer, token: stranger.token },
      { peer: newPeerId(), token },
      { peer, token: `${token.slice(0, -1)}-` },
      { peer, token: '' },
    ];
    for (const resume of wrong) {
      const client = await SignalClient.resumed(url, resume);
      expect([peer, stranger.peer, resume.peer]).not.toContain(client.peer);
      expect(client.received.filter(({ type }) => type === 'error')).toEqual([]);
    }
  });

  it('takes the place of its older socket, which is closed and heard no more', async () => {
    const { url } = await start({ secret });
    const older = await contribute(url);
    await serve(older);
    const { peer, token } = older;
    const newer = await SignalClient.resumed(url, { peer, token });
    expect(newer.peer).toBe(peer);
    expect(await older.closed).toBe(REPLACED_CLOSE_CODE);
    newer.send({ ...JOIN, holds: { model: MODEL, layerStart: 0, layerEnd: 8 } });
    await newer.next('mesh', ({ members }) => members.length === 1);
    const chat = await SignalClient.greeted(url);
    await chat.next('mesh', ({ covered }) => covered.includes(MODEL));

    // The same token over and over: who shows it last has the id, and nobody else hears or says anything under it.
    const newest = await SignalClient.resumed(url, { peer, token });
    expect(newest.peer).toBe(peer);
    expect(await newer.closed).toBe(REPLACED_CLOSE_CODE);
    chat.send({ type: 'signal', to: peer, data: 'hello' });
    expect(await newest.next('signal')).toMatchObject({ data: 'hello', from: chat.peer });
    expect(newer.received.filter(({ type }) => type === 'signal')).toEqual([]);
  });

  it('is not gone when its older socket ends later', async () => {
    const { url } = await start({ secret });
    const older = await SignalClient.greeted(url);
    // Does not answer the goodbye, so that it is cut.
    older.socket.pause();
    const newer = await SignalClient.resumed(url, older);
    newer.send({ ...JOIN, holds: { model: MODEL, layerStart: 0, layerEnd: 8 } });
    const chat = await SignalClient.greeted(url);
    await chat.next('mesh', ({ covered }) => covered.includes(MODEL));
    older.socket.resume();
    await older.closed;
    await vi.waitFor(async () => {
      expect(await (await fetch(`${url}/healthz`)).json()).toMatchObject({ peers: 2, contributors: 1 });
    });
    chat.send(routeRequest());
    expect((await chat.next('route')).route.hops).toEqual([{ peer: newer.peer, layerStart: 0, layerEnd: 8 }]);
  });
});

describe('a restart', () => {
  it('loses no peer, moves nobody, and finds every layer covered as soon as all are back', async () => {
    const before = await start({ secret, stages: 2 });
    const lenders = [await contribute(before.url), await contribute(before.url)];
    const slices = await Promise.all(lenders.map(serve));
    const chat = await SignalClient.greeted(before.url);
    await chat.next('mesh', ({ covered }) => covered.includes(MODEL));
    const requestId = newRequestId();
    chat.send(routeRequest(requestId));
    const { route } = await chat.next('route');
    await before.close();

    const ticks = new ManualBeat();
    const after = await start({ secret, stages: 2, port: before.port, everyTick: ticks.every });
    const idle = await SignalClient.greeted(after.url);
    const back = await Promise.all(
      [chat, ...lenders].map((client) => SignalClient.resumed(after.url, client)),
    );
    expect(back.map(({ peer }) => peer)).toEqual([chat, ...lenders].map(({ peer }) => peer));
    const [chatAgain, ...lendersAgain] = back;
    chatAgain?.send({ type: 'route-resume', route, tokens: 64, timeLimitMs: 60_000 });
    idle.send(JOIN);
    for (const [index, lender] of lendersAgain.entries()) {
      const holds = slices[index];
      lender.send({ ...JOIN, ...(holds && { holds }) });
    }
    await chatAgain?.next('mesh', ({ covered }) => covered.includes(MODEL));
    expect(await (await fetch(`${after.url}/healthz`)).json()).toMatchObject({
      requests: 1,
      contributors: 2,
    });
    chatAgain?.send(routeRequest());
    expect((await chatAgain?.next('route'))?.route.hops).toEqual(route.hops);

    const now = performance.now();
    vi.spyOn(performance, 'now').mockReturnValue(now + MAX_RESUME_SETTLE_MS);
    ticks.beat();
    await idle.next('assign');
    for (const { received } of lendersAgain) {
      expect(received.filter(({ type }) => type === 'assign' || type === 'unassign')).toEqual([]);
    }
  });

  it('with another secret gives everybody another id', async () => {
    const before = await start({ secret });
    const client = await SignalClient.greeted(before.url);
    await before.close();
    const after = await start({ port: before.port });
    expect((await SignalClient.resumed(after.url, client)).peer).not.toBe(client.peer);
  });
});

it('cuts a suspected peer that says nothing, whose token then lets it come back', async () => {
  const ticks = new ManualBeat();
  const { url } = await start({ secret, everyTick: ticks.every });
  const lender = await contribute(url);
  const holds = await serve(lender);
  const chat = await SignalClient.greeted(url);
  await chat.next('mesh', ({ covered }) => covered.includes(MODEL));
  const requestId = newRequestId();
  chat.send(routeRequest(requestId));
  await chat.next('route');
  chat.send({
    type: 'suspect',
    requestId,
    peer: lender.peer,
    error: { code: 'timeout', message: 'says nothing' },
  });
  await lender.next('roll-call');
  const now = performance.now();
  vi.spyOn(performance, 'now').mockReturnValue(now + 4000);
  ticks.beat();
  const [code, reason] = (await once(lender.socket, 'close')) as [number, Buffer];
  expect([code, reason.toString()]).toEqual([1008, 'gave no sign of life']);
  await chat.next('mesh', ({ covered }) => covered.length === 0);
  const back = await SignalClient.resumed(url, lender);
  expect(back.peer).toBe(lender.peer);
  back.send({ ...JOIN, holds });
  await chat.next('mesh', ({ covered }) => covered.includes(MODEL));
});

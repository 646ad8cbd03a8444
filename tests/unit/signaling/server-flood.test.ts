import { afterEach, expect, it, vi } from 'vitest';
import { newPeerId, newRequestId } from '../../../src/protocol/ids.ts';
import type { ClientMessage } from '../../../src/protocol/signaling.ts';
import { MAX_QUEUED_REQUESTS, MAX_SOCKETS_PER_ADDRESS } from '../../../signaling/limits.ts';
import { MODEL } from './scheduler/instances.ts';
import { contribute, JOIN, routeRequest, serve, ServerRig } from './server-rig.ts';
import { SignalClient } from './signal-client.ts';

const SOCKETS = MAX_SOCKETS_PER_ADDRESS - 8;
const MESSAGES_EACH = 60;
const ASK_AGAIN_MS = 500;

const rig = new ServerRig();
afterEach(() => rig.stopAll());

/** Everything that a client can say, to hold something of the server's for ever. */
function greedyMessage(turn: number): ClientMessage {
  const messages: readonly (() => ClientMessage)[] = [
    () => routeRequest(),
    () => routeRequest(newRequestId(), 2048),
    () => JOIN,
    () => ({ type: 'signal', to: newPeerId(), data: 'x'.repeat(1000) }),
    () => ({
      type: 'suspect',
      requestId: newRequestId(),
      peer: newPeerId(),
      error: { code: 'bad-frame', message: 'y'.repeat(1000) },
    }),
    () => ({
      type: 'route-resume',
      route: {
        requestId: newRequestId(),
        epoch: 0,
        model: MODEL,
        hops: [{ peer: newPeerId(), layerStart: 0, layerEnd: 8 }],
      },
      tokens: 64,
      timeLimitMs: 60_000,
    }),
    () => ({ type: 'present', nonce: turn }),
  ];
  return messages[turn % messages.length]?.() ?? JOIN;
}

it('holds no more than its caps while many flood it, answers others meanwhile, and has nothing left of them after', async () => {
  const { url } = await rig.start();
  const health = async () => (await (await fetch(`${url}/healthz`)).json()) as Record<string, number>;
  const lender = await contribute(url);
  await serve(lender);
  const honest = await SignalClient.greeted(url);
  await honest.next('mesh', ({ covered }) => covered.includes(MODEL));
  const before = process.memoryUsage().rss;

  const flooders = await Promise.all(Array.from({ length: SOCKETS }, () => SignalClient.greeted(url)));
  for (let turn = 0; turn < MESSAGES_EACH; turn += 1) {
    for (const [index, flooder] of flooders.entries()) {
      if (flooder.socket.readyState === flooder.socket.OPEN) flooder.send(greedyMessage(turn + index));
    }
  }
  // Behind what was said before it; and repeated, as dials are: a lender that cannot read in time is not sent every signal.
  const ask = () => honest.send({ type: 'signal', to: lender.peer, data: 'still here?' });
  ask();
  const again = setInterval(ask, ASK_AGAIN_MS);
  expect(await lender.next('signal')).toMatchObject({ data: 'still here?' });
  clearInterval(again);
  const during = await health();
  expect(during['queued']).toBeLessThanOrEqual(MAX_QUEUED_REQUESTS);
  expect(during['contributors']).toBeLessThanOrEqual(SOCKETS + 1);
  const peak = process.memoryUsage().rss;

  for (const { socket } of flooders) socket.terminate();
  await vi.waitFor(
    async () => expect(await health()).toMatchObject({ peers: 2, requests: 0, queued: 0 }),
    10_000,
  );
  const mib = (bytes: number) => Math.round(bytes / 2 ** 20);
  const said = `${SOCKETS} clients with ${MESSAGES_EACH} messages each`;
  console.info(
    `${said}: ${mib(before)} MiB before, ${mib(peak)} MiB at the end of the flood, with the clients in it`,
  );
  honest.send(routeRequest());
  expect((await honest.next('route')).route.hops).toMatchObject([{ peer: lender.peer }]);
}, 30_000);

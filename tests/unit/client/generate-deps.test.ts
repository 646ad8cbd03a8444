import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { generate } from '../../../src/client/generate.ts';
import { generateDeps } from '../../../src/client/generate-deps.ts';
import type { RequesterSession } from '../../../src/client/generate-deps.ts';
import { LocalHub } from '../../../src/mesh/local-hub.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { ModelId } from '../../../src/protocol/ids.ts';
import { Tokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { systemClock } from '../../../src/protocol/clock.ts';
import { GREEDY } from '../../../src/protocol/sampling.ts';
import { expectedTokens } from '../mesh/adding-machine.ts';
import { LocalMesh, MODEL, peerId, requestId, settled } from '../mesh/local-mesh.ts';
import { ManualClock } from '../mesh/manual-clock.ts';

const QUERY = {
  model: 'tiny' as ModelId,
  requestId: requestId(1),
  epoch: 0,
  exclude: [],
  tokens: 4,
  timeLimitMs: 1000,
};
const tokenizer = await Tokenizer.load(new FolderSource('public/models/skein-tiny'));

function fakeSession(index: number, said: string[], clock = new ManualClock()): RequesterSession {
  return {
    clock,
    transport: new LocalHub().transport(peerId(index)),
    signaling: {
      requestRoute: ({ requestId: id, epoch, model }) => {
        said.push(`${index} route`);
        return Promise.resolve({ requestId: id, epoch, model, hops: [] });
      },
      endRoute: (_id, outcome) => void said.push(`${index} end ${outcome?.tokens ?? '-'}`),
      suspect: (_id, peer, { code }) => void said.push(`${index} suspects ${peer} ${code}`),
    },
  };
}

describe('what a generation takes of the mesh', () => {
  it('is of the session of the moment, so that an answer goes on over the next', async () => {
    const said: string[] = [];
    let current = fakeSession(1, said);
    const deps = generateDeps({ current: () => current, tokenizer });
    expect(deps.transport.self).toBe(peerId(1));
    await deps.requestRoute(QUERY, new AbortController().signal, () => undefined);
    current = fakeSession(2, said);
    expect(deps.transport.self).toBe(peerId(2));
    await deps.requestRoute({ ...QUERY, epoch: 1 }, new AbortController().signal, () => undefined);
    deps.suspect?.(requestId(1), peerId(9), new SkeinError('timeout', 'silent'));
    deps.endRoute(requestId(1), { tokens: 3, seconds: 1 });
    expect(said).toEqual(['1 route', '2 route', `2 suspects ${peerId(9)} timeout`, '2 end 3']);
  });

  it('sleeps by the clock, and wakes when told to', async () => {
    const clock = new ManualClock();
    const deps = generateDeps({ current: () => fakeSession(1, [], clock), tokenizer });
    const abort = new AbortController();
    const sleeping = deps.sleep(500, abort.signal);
    clock.advance(500);
    await sleeping;
    expect(deps.now()).toBe(500);
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
    const waking = expect(deps.sleep(500, abort.signal)).rejects.toMatchObject({ name: 'AbortError' });
    abort.abort();
    await waking;
    await expect(deps.sleep(500, abort.signal)).rejects.toMatchObject({ name: 'AbortError' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('carries an answer over the end of a session, to stages that know nothing of it', async () => {
    const gone = new LocalMesh(3);
    const next = new LocalMesh(3, { peers: [peerId(11), peerId(12), peerId(13)] });
    const asked: string[] = [];
    const routesOver = (mesh: LocalMesh, self: number): RequesterSession['signaling'] => ({
      ...fakeSession(self, []).signaling,
      requestRoute: (query) => {
        asked.push(`${self} for epoch ${query.epoch}`);
        return Promise.resolve({ ...query, hops: mesh.stages.map(({ hop }) => hop) });
      },
    });
    const second: RequesterSession = {
      transport: next.hub.transport(peerId(2)),
      signaling: routesOver(next, 2),
      clock: systemClock,
    };
    const over: RequesterSession['signaling'] = {
      ...fakeSession(1, []).signaling,
      requestRoute: ({ epoch }) => {
        asked.push(`1 in vain for epoch ${epoch}`);
        current = second;
        return Promise.reject(new SkeinError('server-lost', 'The server knows this session no more.'));
      },
    };
    const transport = gone.hub.transport(peerId(1));
    let current: RequesterSession = { transport, signaling: routesOver(gone, 1), clock: systemClock };
    const prompt = [5, 6, 7];
    const tokenIds: number[] = [];
    const withoutText = {
      stopTokenIds: [],
      streamDecoder: () => ({ push: () => '', flush: () => '' }),
    } as unknown as Tokenizer;
    for await (const event of generate(
      { model: MODEL, prompt: { kind: 'ids', ids: prompt }, maxTokens: 40, sampling: GREEDY },
      generateDeps({ current: () => current, tokenizer: withoutText }),
    )) {
      if (event.type !== 'token') continue;
      tokenIds.push(event.tokenId);
      if (tokenIds.length !== 15) continue;
      current = { ...current, signaling: over };
      for (const { hop } of gone.stages) gone.hub.remove(hop.peer);
    }
    expect(tokenIds).toEqual(expectedTokens(prompt, gone.layerCount, 40));
    expect(asked).toEqual(['1 for epoch 0', '1 in vain for epoch 1', '2 for epoch 2']);
    await settled();
    expect(next.openRequests).toBe(0);
  });
});

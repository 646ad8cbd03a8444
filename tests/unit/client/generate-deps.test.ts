import { describe, expect, it } from 'vitest';
import { generateDeps } from '../../../src/client/generate-deps.ts';
import type { RequesterSession } from '../../../src/client/generate-deps.ts';
import { LocalHub } from '../../../src/mesh/local-hub.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { ModelId } from '../../../src/protocol/ids.ts';
import { Tokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { peerId, requestId } from '../mesh/local-mesh.ts';
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
    const waking = expect(deps.sleep(500, abort.signal)).rejects.toMatchObject({ name: 'AbortError' });
    abort.abort();
    await waking;
    await expect(deps.sleep(500, abort.signal)).rejects.toMatchObject({ name: 'AbortError' });
    expect(clock.pendingTimers).toBe(0);
  });
});

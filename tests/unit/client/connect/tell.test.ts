import { describe, expect, it, vi } from 'vitest';
import { answerProgress, tellCaller } from '../../../../src/client/connect/tell.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import type { ModelId } from '../../../../src/protocol/ids.ts';
import type { Reroute } from '../../../../src/client/request-state.ts';
import { peerId, requestId } from '../../mesh/local-mesh.ts';

const ROUTE = {
  requestId: requestId(1),
  epoch: 0,
  model: 'tiny' as ModelId,
  hops: [{ peer: peerId(1), layerStart: 0, layerEnd: 2 }],
};
const LOST: Reroute = { epoch: 0, peer: peerId(9), code: 'peer-lost', phase: 'decoding', pauseMs: 40 };
const error = new SkeinError('busy', 'full');

describe('how an answer fares', () => {
  it.each([
    [
      { type: 'queued', position: 3 },
      { type: 'queued', position: 3 },
    ],
    [
      { type: 'route', route: ROUTE, reroute: null },
      { type: 'route', hops: ROUTE.hops },
    ],
    [
      { type: 'route', route: ROUTE, reroute: LOST },
      { type: 'rerouted', hops: ROUTE.hops, lost: LOST },
    ],
    [
      { type: 'waiting', error, epoch: 1, delayMs: 100, reroute: LOST },
      { type: 'waiting', error, delayMs: 100, lost: LOST },
    ],
    [
      { type: 'resumed', reroutes: [LOST] },
      { type: 'resumed', lost: [LOST] },
    ],
  ] as const)('%o', (progress, told) => {
    expect(answerProgress('chatcmpl-1', { type: 'progress', choice: 2, progress })).toEqual({
      id: 'chatcmpl-1',
      choice: 2,
      ...told,
    });
  });

  it('goes on when a listener throws, which is reported elsewhere', () => {
    const later: (() => void)[] = [];
    vi.stubGlobal('queueMicrotask', (run: () => void) => later.push(run));
    try {
      tellCaller(() => {
        throw new Error('a bug of the caller');
      }, 1);
      expect(later).toHaveLength(1);
      expect(() => later[0]?.()).toThrow('a bug of the caller');
    } finally {
      vi.unstubAllGlobals();
    }
  });
});

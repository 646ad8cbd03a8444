import { describe, expect, it } from 'vitest';
import { cacheScope } from '../../../src/mesh/cache-scope.ts';
import type { OpenRequest } from '../../../src/protocol/stage.ts';
import { LocalMesh, peerId, requestId } from './local-mesh.ts';

describe('the scope of cached blocks', () => {
  const request = new LocalMesh(4).request(40, 5);
  const atHopTwo = cacheScope(request, 2);

  it('is 128 bits, as 32 hex characters', () => {
    expect(atHopTwo).toMatch(/^[0-9a-f]{32}$/);
  });

  const withHop = (index: number, change: Partial<OpenRequest['route']['hops'][number]>): OpenRequest => {
    const hops = request.route.hops.map((hop, at) => (at === index ? { ...hop, ...change } : hop));
    return { ...request, route: { ...request.route, hops } };
  };
  const stranger = peerId(0xee);

  it.each<[string, OpenRequest]>([
    ['another requester', { ...request, requester: stranger }],
    ['another first hop', withHop(0, { peer: stranger })],
    ['another hop right before', withHop(1, { peer: stranger })],
    ['other layers before', withHop(1, { layerStart: 7 })],
    ['layers before that end elsewhere', withHop(1, { layerEnd: 7 })],
  ])('is another for %s', (_what, other) => {
    expect(cacheScope(other, 2)).not.toBe(atHopTwo);
  });

  it('is another at every hop', () => {
    expect(new Set([0, 1, 2, 3].map((hopIndex) => cacheScope(request, hopIndex))).size).toBe(4);
  });

  it.each<[string, OpenRequest]>([
    ['another peer here', withHop(2, { peer: stranger })],
    ['another hop after', withHop(3, { peer: stranger })],
    [
      'another request and epoch',
      { ...request, route: { ...request.route, requestId: requestId(9), epoch: 4 } },
    ],
    ['another prompt', { ...request, promptTokens: 7, maxTokens: 3 }],
  ])('is the same for %s', (_what, other) => {
    expect(cacheScope(other, 2)).toBe(atHopTwo);
  });
});

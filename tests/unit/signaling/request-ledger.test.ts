import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import type { PeerId, RequestId } from '../../../src/protocol/ids.ts';
import { RequestLedger } from '../../../signaling/request-ledger.ts';
import { MODEL } from './scheduler/instances.ts';

const peers = ['a', 'b', 'c'] as PeerId[];
const requests = ['1', '2', '3', '4'] as RequestId[];

const steps = fc.array(
  fc.oneof(
    fc.record({
      type: fc.constant('start' as const),
      request: fc.constantFrom(...requests),
      requester: fc.constantFrom(...peers),
      route: fc.uniqueArray(fc.constantFrom(...peers), { minLength: 1 }),
      tokens: fc.integer({ min: 1, max: 9 }),
      endsMs: fc.integer({ min: 1, max: 9 }),
    }),
    fc.record({ type: fc.constant('pass' as const), nowMs: fc.integer({ min: 0, max: 9 }) }),
    fc.record({ type: fc.constant('end' as const), request: fc.constantFrom(...requests) }),
    fc.record({ type: fc.constant('end-all' as const), requester: fc.constantFrom(...peers) }),
    fc.record({ type: fc.constant('break' as const), peer: fc.constantFrom(...peers) }),
    fc.record({ type: fc.constant('mend' as const), held: fc.subarray(peers) }),
  ),
);

interface Running {
  readonly requester: PeerId;
  readonly route: PeerId[];
  readonly tokens: number;
  readonly endsMs: number;
  isBroken: boolean;
}

it('counts exactly the running requests and their tokens over every peer, whatever happens in which order', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const ledger = new RequestLedger();
      const running = new Map<RequestId, Running>();
      for (const step of list) {
        if (step.type === 'start') {
          const { requester, tokens, endsMs } = step;
          const hops = step.route.map((peer, index) => ({ peer, layerStart: index, layerEnd: index + 1 }));
          const times = { secondsPerToken: 1, startedMs: 0, endsMs };
          ledger.start(step.request, { requester, model: MODEL, hops, had: [], tokens, ...times });
          running.set(step.request, { ...step, isBroken: false });
        } else if (step.type === 'end') {
          expect(ledger.end(step.request)?.tokens).toBe(running.get(step.request)?.tokens);
          running.delete(step.request);
        } else if (step.type === 'pass') {
          ledger.endOverdue(step.nowMs);
          for (const [request, { endsMs }] of running) if (endsMs <= step.nowMs) running.delete(request);
        } else if (step.type === 'break') {
          ledger.breakRoutesOver(step.peer);
          for (const request of running.values()) request.isBroken ||= request.route.includes(step.peer);
        } else if (step.type === 'mend') {
          ledger.mendRoutes((hop) => step.held.includes(hop.peer));
          for (const request of running.values()) {
            request.isBroken &&= !request.route.every((peer) => step.held.includes(peer));
          }
        } else {
          ledger.endAllOf(step.requester);
          for (const [request, { requester }] of running) {
            if (requester === step.requester) running.delete(request);
          }
        }
        const all = [...running.values()];
        expect(ledger.size).toBe(running.size);
        for (const peer of peers) {
          const over = all.filter(({ route }) => route.includes(peer));
          expect(ledger.inFlight(peer)).toBe(over.length);
          expect(ledger.answerable(peer)).toBe(over.filter(({ isBroken }) => !isBroken).length);
          expect(ledger.reservedTokens(peer)).toBe(over.reduce((sum, { tokens }) => sum + tokens, 0));
          expect(ledger.countOf(peer)).toBe(all.filter(({ requester }) => requester === peer).length);
        }
        for (const request of requests) {
          expect(ledger.get(request)?.requester).toBe(running.get(request)?.requester);
        }
      }
    }),
  );
});

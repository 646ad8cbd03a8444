import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ModelId, PeerId, RequestId } from '../../../src/protocol/ids.ts';
import { RouteQueue } from '../../../signaling/route-queue.ts';
import type { QueuedRequest } from '../../../signaling/route-queue.ts';

const RESTS = { restMs: 1000, repeatMs: 5000 };

/** A request named after its requester: `a1` is the first of `a`. */
function queued(name: string, lost = false): QueuedRequest {
  return {
    requester: name.slice(0, 1) as PeerId,
    request: {
      type: 'route-request',
      requestId: name as RequestId,
      model: 'model' as ModelId,
      epoch: 0,
      exclude: [],
      tokens: 1,
      timeLimitMs: 1000,
    },
    had: lost ? [] : null,
    resumes: lost,
    endsMs: 1000,
  };
}

function queueOf(...names: readonly string[]): RouteQueue {
  const queue = new RouteQueue();
  for (const name of names) queue.add(queued(name));
  return queue;
}

function order(queue: RouteQueue): string {
  return [...queue.inOrder()].map(({ request }) => request.requestId).join(' ');
}

function serveFirst(queue: RouteQueue): string {
  const [first] = queue.inOrder();
  if (first === undefined) throw new Error('nobody waits');
  queue.remove(first.request.requestId, true);
  return first.request.requestId;
}

describe('the order of a queue', () => {
  it('lets requesters take turns, and keeps the order of each', () => {
    const queue = queueOf('a1', 'a2', 'a3', 'b1', 'c1', 'c2');
    expect(order(queue)).toBe('a1 b1 c1 a2 c2 a3');
    expect(serveFirst(queue)).toBe('a1');
    expect(order(queue)).toBe('b1 c1 a2 c2 a3');
    queue.add(queued('d1'));
    expect(order(queue)).toBe('b1 c1 a2 d1 c2 a3');
  });

  it('does not cost a requester its turn to take a request back', () => {
    const queue = queueOf('a1', 'a2', 'b1');
    queue.remove('a1' as RequestId);
    expect(order(queue)).toBe('a2 b1');
    queue.remove('a1' as RequestId);
    queue.remove('a2' as RequestId);
    expect([order(queue), queue.length, queue.countOf('a' as PeerId)]).toEqual(['b1', 1, 0]);
  });

  it('has those first that lost their route, in turns of their own', () => {
    const queue = queueOf('a1', 'b1');
    for (const name of ['b2', 'b3', 'c1']) queue.add(queued(name, true));
    expect(order(queue)).toBe('b2 c1 b3 a1 b1');
    expect(queue.countOf('b' as PeerId)).toBe(3);
  });

  it('forgets a requester with all it has', () => {
    const queue = queueOf('a1', 'b1', 'a2');
    queue.add(queued('a3', true));
    queue.removeAllOf('a' as PeerId);
    expect([order(queue), queue.length, queue.get('a3' as RequestId)]).toEqual(['b1', 1, null]);
  });

  it('may be changed while it is walked', () => {
    const queue = queueOf('a1', 'a2', 'b1', 'b2', 'c1');
    queue.add(queued('d1', true));
    const served: string[] = [];
    for (const { request } of queue.inOrder()) {
      served.push(request.requestId);
      if (request.requestId !== 'b1') queue.remove(request.requestId, true);
    }
    expect(served.join(' ')).toBe('d1 a1 b1 c1 a2 b2');
    expect(order(queue)).toBe('b1');
  });

  it('serves nobody twice while somebody else waits, and everybody once', () => {
    const steps = fc.array(fc.oneof(fc.constantFrom('a', 'b', 'c'), fc.constant('serve')), { maxLength: 40 });
    fc.assert(
      fc.property(steps, (list) => {
        const queue = new RouteQueue();
        const waiting = new Map<string, string[]>();
        /** Who waited when somebody was last served and has not been served since. */
        const owed = new Map<string, Set<string>>();
        let count = 0;
        const serve = () => {
          if (queue.length === 0) return;
          const name = serveFirst(queue);
          const requester = name.slice(0, 1);
          expect(waiting.get(requester)?.shift()).toBe(name);
          expect([...(owed.get(requester) ?? [])]).toEqual([]);
          for (const others of owed.values()) others.delete(requester);
          const stillWaiting = [...waiting].filter(([, own]) => own.length > 0).map(([other]) => other);
          owed.set(requester, new Set(stillWaiting.filter((other) => other !== requester)));
        };
        for (const step of list) {
          if (step === 'serve') serve();
          else {
            count += 1;
            const name = `${step}${count}`;
            queue.add(queued(name));
            waiting.set(step, [...(waiting.get(step) ?? []), name]);
          }
        }
        while (queue.length > 0) serve();
        expect([...waiting.values()].flat()).toEqual([]);
      }),
    );
  });
});

describe('notices', () => {
  const told = (queue: RouteQueue, nowMs: number) =>
    queue
      .takeNotices(nowMs, RESTS)
      .map(({ requestId, position }) => `${requestId}:${position}`)
      .join(' ');

  it('go to newcomers at once, to others when their place changes, and to all now and then', () => {
    const queue = queueOf('a1', 'b1');
    expect(told(queue, 0)).toBe('a1:1 b1:2');
    queue.add(queued('c1'));
    expect(told(queue, 10)).toBe('c1:3');
    queue.remove('a1' as RequestId, true);
    expect(told(queue, 999)).toBe('');
    expect(told(queue, 1000)).toBe('b1:1');
    expect(told(queue, 1010)).toBe('c1:2');
    expect(told(queue, 5999)).toBe('');
    expect(told(queue, 6000)).toBe('b1:1');
    expect(told(queue, 6010)).toBe('c1:2');
  });

  it('may be asked for one by one, and then count as told', () => {
    const queue = queueOf('a1', 'a2', 'b1');
    expect(queue.takeNotice('a2' as RequestId, 0)).toEqual({ requester: 'a', requestId: 'a2', position: 3 });
    expect(queue.takeNotice('c1' as RequestId, 0)).toBeNull();
    expect(told(queue, 10)).toBe('a1:1 b1:2');
  });
});

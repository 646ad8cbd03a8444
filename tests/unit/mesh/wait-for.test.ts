import { expect, it } from 'vitest';
import { waitFor } from '../../../src/mesh/wait-for.ts';
import { ManualClock } from './manual-clock.ts';

it('gives a wait with news its whole time again, and leaves no timer when it is over', async () => {
  const clock = new ManualClock();
  let restart: () => void = () => undefined;
  let resolve: (value: string) => void = () => undefined;
  const waiting = waitFor<string>(
    { clock, timeoutMs: 100, what: 'Nobody answered' },
    (done, _fail, again) => {
      restart = again;
      resolve = done;
    },
  );
  clock.advance(99);
  restart();
  clock.advance(99);
  expect(clock.pendingTimers).toBe(1);
  resolve('here');
  expect(await waiting).toBe('here');
  restart();
  expect(clock.pendingTimers).toBe(0);
});

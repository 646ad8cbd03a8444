import { expect, it } from 'vitest';
import { problemsOf } from '../../fuzz/fuzz-report.ts';
import { runFuzz } from '../../fuzz/fuzz.ts';

/** A part of `npm run fuzz`, which takes minutes. */
const FRAMES = 20_000;
const MESSAGES = 2_000;
/** For a machine that does many other things at the same time. */
const TIMEOUT_MS = 180_000;

it(
  'nothing that is not as it should be crashes, allocates, passes or disturbs anything',
  { timeout: TIMEOUT_MS },
  async () => {
    const result = await runFuzz({
      frames: FRAMES,
      messages: MESSAGES,
      seed: 'unit',
      onProgress: () => undefined,
    });
    expect(problemsOf(result)).toEqual([]);
    for (const { tried } of result.tallies.slice(0, 2)) expect(tried).toBeGreaterThan(FRAMES / 10);
  },
);

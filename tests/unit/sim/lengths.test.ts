import { expect, test } from 'vitest';
import { drawLength, SHARE_GPT, WILD_CHAT } from '../../sim/lengths.ts';
import { Random } from '../../sim/random.ts';
import { drawArrivals } from '../../sim/workload.ts';
import { quietScenario } from './fixed-policy.ts';

const DRAWS = 400_000;

/** Mean and deviation of the logarithm, which a few giants do not move. */
function logMoments(values: readonly number[]): { readonly mean: number; readonly deviation: number } {
  const logs = values.map(Math.log);
  const mean = logs.reduce((sum, value) => sum + value, 0) / logs.length;
  const variance = logs.reduce((sum, value) => sum + (value - mean) ** 2, 0) / logs.length;
  return { mean, deviation: Math.sqrt(variance) };
}

test.each([SHARE_GPT, WILD_CHAT])(
  '$name lengths have the published moments where nothing is cut',
  (published) => {
    const whole = { ...published, maxPromptTokens: Infinity, maxAnswerTokens: Infinity };
    const random = new Random('lengths');
    const answers = Array.from({ length: DRAWS }, () => drawLength(whole, random).answerTokens);
    const mean = answers.reduce((sum, value) => sum + value, 0) / DRAWS;
    const deviation = Math.sqrt(answers.reduce((sum, value) => sum + (value - mean) ** 2, 0) / DRAWS);
    expect(mean / published.answer.mean).toBeCloseTo(1, 1);
    expect(deviation / published.answer.deviation).toBeCloseTo(1, 1);
    // exp(μ + σ²/2) of the logarithm is the mean again; the prompts' own mean hangs on a few giants.
    const { mean: mu, deviation: sigma } = logMoments(answers.filter((tokens) => tokens > 1));
    expect(Math.exp(mu + sigma ** 2 / 2) / published.answer.mean).toBeCloseTo(1, 1);
  },
);

test('lengths are whole, at least one token, and cut where the distribution says', () => {
  const random = new Random('cut');
  const lengths = Array.from({ length: 50_000 }, () => drawLength(WILD_CHAT, random));
  const prompts = lengths.map(({ promptTokens }) => promptTokens);
  expect(Math.min(...prompts)).toBe(1);
  expect(Math.max(...prompts)).toBe(1024);
  expect(prompts.every(Number.isInteger)).toBe(true);
});

test('arrivals follow the rate as it changes', () => {
  const scenario = quietScenario({
    windowSeconds: 3000,
    rateFactor: (seconds) => (seconds >= 1000 && seconds < 2000 ? 10 : 1),
  });
  const arrivals = drawArrivals(scenario, 1, new Random('arrivals'));
  const counts = [0, 1, 2].map(
    (part) =>
      arrivals.filter(({ atSeconds }) => {
        const seconds = atSeconds - scenario.warmUpSeconds;
        return seconds >= part * 1000 && seconds < (part + 1) * 1000;
      }).length,
  );
  const expected = [1000, 10_000, 1000];
  for (const [part, count] of counts.entries()) {
    const mean = expected[part] ?? 0;
    expect(Math.abs(count - mean)).toBeLessThan(4 * Math.sqrt(mean));
  }
});

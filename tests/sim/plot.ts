import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, View } from 'vega';
import { compile } from 'vega-lite';
import type { TopLevelSpec } from 'vega-lite';
import type { Result } from './compare.ts';
import type { Scenario } from './scenario.ts';

interface Panel {
  readonly name: string;
  readonly title: string;
  readonly isLogarithmic: boolean;
  readonly valueOf: (result: Result) => number;
}

const PANELS: readonly Panel[] = [
  {
    name: 'goodput',
    title: 'tokens/s of answers in time',
    isLogarithmic: false,
    valueOf: ({ outcome }) => outcome.goodTokensPerSecond,
  },
  {
    name: 'throughput',
    title: 'tokens/s',
    isLogarithmic: false,
    valueOf: ({ outcome }) => outcome.tokensPerSecond,
  },
  {
    name: 'latency',
    title: 'p99 latency, s',
    isLogarithmic: true,
    valueOf: ({ outcome }) => outcome.latency.p99,
  },
];

/** Okabe and Ito's colours, which colour-blind people can tell apart. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00'];
const SIZE_PIXELS = 220;

/** Draws one SVG of three panels over the rates. @returns its path. */
export async function writePlot(
  scenario: Scenario,
  results: readonly Result[],
  folder: string,
): Promise<string> {
  const view = new View(parse(compile(specOf(scenario, results)).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  await mkdir(folder, { recursive: true });
  const path = join(folder, `sim-${scenario.name}.svg`);
  await writeFile(path, `${svg}\n`);
  return path;
}

function specOf(scenario: Scenario, results: readonly Result[]): TopLevelSpec {
  const policies = [...new Set(results.map(({ policy }) => policy))];
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: scenario.name,
    background: 'white',
    hconcat: PANELS.map(({ name, title, isLogarithmic, valueOf }) => ({
      name,
      width: SIZE_PIXELS,
      height: SIZE_PIXELS,
      data: { values: pointsOf(results, valueOf, isLogarithmic) },
      mark: { type: 'line' as const, point: true },
      encoding: {
        x: {
          field: 'rate',
          type: 'quantitative' as const,
          title: 'requests/s',
          scale: { type: 'log' as const, base: 2 },
        },
        y: {
          field: 'value',
          type: 'quantitative' as const,
          title,
          scale: { type: isLogarithmic ? ('log' as const) : ('linear' as const) },
        },
        color: {
          field: 'policy',
          type: 'nominal' as const,
          title: null,
          scale: { domain: policies, range: COLOURS.slice(0, policies.length) },
        },
      },
    })),
  };
}

/** Times of requests that were never answered have no point. */
function pointsOf(
  results: readonly Result[],
  valueOf: (result: Result) => number,
  isLogarithmic: boolean,
): { policy: string; rate: number; value: number }[] {
  return results.flatMap((result) => {
    const value = valueOf(result);
    if (!Number.isFinite(value) || (isLogarithmic && value <= 0)) return [];
    return [{ policy: result.policy, rate: result.requestsPerSecond, value }];
  });
}

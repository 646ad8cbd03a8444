import type { Cell, Table } from '../bench/report.ts';
import type { Result } from './compare.ts';
import type { Scenario } from './scenario.ts';

/** One row for each rate and policy. */
export function tableOf(scenario: Scenario, results: readonly Result[]): Table {
  const { name, objective } = scenario;
  const within = `with the first token in ${objective.firstTokenSeconds} s and the others in ${objective.secondsPerToken} s each`;
  return { title: `${name}: good are answers ${within}`, rows: results.map(rowOf) };
}

function rowOf({ policy, requestsPerSecond, outcome }: Result): Readonly<Record<string, Cell>> {
  const { latency, timeToFirstToken, timePerToken } = outcome;
  return {
    policy,
    'req/s': requestsPerSecond,
    'tokens/s': outcome.tokensPerSecond,
    'good tokens/s': outcome.goodTokensPerSecond,
    'latency p50, s': finite(latency.p50),
    'p99, s': finite(latency.p99),
    'first token p50, s': finite(timeToFirstToken.p50),
    'first p99, s': finite(timeToFirstToken.p99),
    'per token p50, ms': finite(timePerToken.p50 * 1000),
    'per token p99, ms': finite(timePerToken.p99 * 1000),
    'idle, %': 100 * outcome.idleShare,
    requests: outcome.requests,
    answered: outcome.answered,
    lost: outcome.lost,
    refused: outcome.refused,
    'refused, %': (100 * outcome.refused) / outcome.requests,
    unfinished: outcome.unfinished,
    'hops lost': outcome.losses,
  };
}

/** Of those never answered there is no time. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** What a page shows of a row. */
function shortRowOf({ policy, requestsPerSecond, outcome }: Result): Readonly<Record<string, string>> {
  const { latency, timeToFirstToken, timePerToken } = outcome;
  return {
    'req/s': String(requestsPerSecond),
    policy,
    'tokens/s': shown(outcome.tokensPerSecond),
    good: shown(outcome.goodTokensPerSecond),
    'latency p50 / p99, s': `${shown(latency.p50)} / ${shown(latency.p99)}`,
    'first token p50 / p99, s': `${shown(timeToFirstToken.p50)} / ${shown(timeToFirstToken.p99)}`,
    'per token p50 / p99, ms': `${shown(1000 * timePerToken.p50)} / ${shown(1000 * timePerToken.p99)}`,
    'idle, %': shown(100 * outcome.idleShare),
    'lost / refused / unfinished': `${outcome.lost} / ${outcome.refused} / ${outcome.unfinished}`,
    'refused, %': shown((100 * outcome.refused) / outcome.requests),
    're-routed or begun anew': shown(outcome.losses - outcome.lost),
  };
}

/** A table of Markdown; Prettier aligns it. */
export function markdownOf(results: readonly Result[]): string {
  const rows = results.map(shortRowOf);
  const headings = Object.keys(rows[0] ?? {});
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    line(headings),
    line(headings.map((heading) => (heading === 'policy' ? '---' : '---:'))),
    ...rows.map((row) => line(headings.map((heading) => row[heading] ?? ''))),
  ].join('\n');
}

/** Three digits that count. */
function shown(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
}

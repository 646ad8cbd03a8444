import type { Cell, Table } from '../bench/report.ts';
import type { Result } from './compare.ts';
import type { Scenario } from './scenario.ts';

/** One row for each rate and policy. */
export function tableOf(scenario: Scenario, results: readonly Result[]): Table {
  const { name, objective } = scenario;
  const within = `within ${objective.seconds} s + ${objective.secondsPerToken} s per token`;
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
    unfinished: outcome.unfinished,
    'hops lost': outcome.losses,
  };
}

/** Of those never answered there is no time. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** The table as it stands in docs/scheduling.md. */
export function markdownOf({ rows }: Table): string {
  const headings = Object.keys(rows[0] ?? {});
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    line(headings),
    line(headings.map((heading) => (heading === 'policy' ? '---' : '---:'))),
    ...rows.map((row) => line(headings.map((heading) => shown(row[heading])))),
  ].join('\n');
}

function shown(cell: Cell | undefined): string {
  if (cell === null || cell === undefined) return '–';
  if (typeof cell === 'string' || Number.isInteger(cell)) return String(cell);
  return Number(cell.toPrecision(3)).toString();
}

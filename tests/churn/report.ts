import { atLeast, atMost, benchReport, exactly } from '../bench/report.ts';
import type { BenchReport, Table } from '../bench/report.ts';
import type { ChurnResult } from './churn.ts';

const MAX_MEDIAN_RECOVERY_SECONDS = 2;

/** A run in figures, and what it must show. A run in which no leave left layers without a peer has shown nothing, and fails. */
export function churnReport(result: ChurnResult): BenchReport {
  const { load, leaves, watch } = result;
  const recoveries = watch.recoveriesMs.map((ms) => ms / 1000);
  const leaveCount = [...leaves.values()].reduce((sum, count) => sum + count, 0);
  return benchReport(
    'churn',
    result.adapter,
    [
      {
        title: 'Answers under churn',
        rows: [
          {
            seconds: result.seconds,
            requests: load.requests,
            wrong: load.wrong,
            lost: load.lost,
            'routes after the first': load.reroutes,
            waits: load.waits,
            queued: load.queued,
            tokens: load.tokens,
            'median answer s': quantile(load.latenciesMs, 0.5) / 1000,
            'slowest answer s': quantile(load.latenciesMs, 1) / 1000,
          },
        ],
      },
      { title: 'Leaves', rows: [...leaves].map(([kind, count]) => ({ kind, leaves: count })) },
      {
        title: 'From a leave to every layer served again',
        rows: [
          {
            leaves: leaveCount,
            joins: result.joins,
            'left layers without a peer': recoveries.length,
            'gaps without a leave': watch.unexplainedGaps,
            'median s': quantile(recoveries, 0.5),
            '90 % s': quantile(recoveries, 0.9),
            'longest s': quantile(recoveries, 1),
          },
        ],
      },
      loadTable(result),
      { title: 'Errors that answers survived', rows: countRows(load.survived) },
      { title: 'Errors that ended answers', rows: countRows(load.fatal) },
    ].filter(({ rows }) => rows.length > 0),
    [
      exactly('wrong answers', load.wrong, 0),
      exactly('lost answers', load.lost, 0),
      atLeast('answers', load.requests, 1),
      atLeast('leaves that left layers without a peer', recoveries.length, 1),
      exactly('gaps without a leave', watch.unexplainedGaps, 0),
      exactly('gaps that were never closed', recoveries.filter((s) => !Number.isFinite(s)).length, 0),
      atMost(
        'median seconds from such a leave to full coverage',
        quantile(recoveries, 0.5),
        MAX_MEDIAN_RECOVERY_SECONDS,
      ),
    ],
  );
}

/** Loads that were seen from their beginning, by what loaded and whether it had served before. */
function loadTable({ watch, kinds }: ChurnResult): Table {
  const secondsByKind = new Map<string, number[]>();
  for (const { peer, isFirst, ms } of watch.loads) {
    const kind = `${kinds.get(peer) ?? 'not asked'}, ${isFirst ? 'first' : 'again'}`;
    secondsByKind.set(kind, [...(secondsByKind.get(kind) ?? []), ms / 1000]);
  }
  return {
    title: 'Loading a slice',
    rows: [...secondsByKind].map(([by, seconds]) => ({
      by,
      loads: seconds.length,
      'median s': quantile(seconds, 0.5),
      'longest s': quantile(seconds, 1),
    })),
  };
}

function countRows(counts: ReadonlyMap<string, number>): Table['rows'] {
  return [...counts].map(([code, count]) => ({ code, count }));
}

/** Of no values: NaN, which holds no bound. @param share 0 to 1. */
function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.round((sorted.length - 1) * share)] ?? NaN;
}

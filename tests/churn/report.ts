import { atLeast, atMost, benchReport, exactly } from '../bench/report.ts';
import type { BenchReport, Table } from '../bench/report.ts';
import type { ChurnResult } from './churn.ts';
import type { LoadTotals } from './load.ts';

const MAX_MEDIAN_RECOVERY_SECONDS = 2;
/** Of each kind that there are devices for, and never less than one: two in three minutes. Tabs are slow to come back. */
const MIN_LEAVES_PER_KIND_PER_MINUTE = 0.7;
/** Some come back to a mesh that has no work for them before the run is over. */
const MIN_SHARE_OF_JOINS_THAT_SERVE = 0.9;
/** A quarter of what two cores answer. */
const MIN_ANSWERS_PER_MINUTE = 20;

/**
 * A run in figures, and what it must show. A run in which no leave left layers without a peer, or hardly anybody left, came
 * back or asked, has shown nothing, and fails.
 */
export function churnReport(result: ChurnResult): BenchReport {
  const { load, leaves, skipped, watch } = result;
  const minutes = result.seconds / 60;
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
            'answers a minute': answered(load) / minutes,
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
        title: 'Times that somebody was to leave and nobody could',
        rows: [...skipped].map(([because, count]) => ({ because, times: count })),
      },
      {
        title: 'From a leave to every layer served again',
        rows: [
          {
            leaves: leaveCount,
            joins: result.joins,
            'of them came to serve': result.joinsThatServed,
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
      atLeast('right answers a minute', answered(load) / minutes, MIN_ANSWERS_PER_MINUTE),
      ...[...leaves].map(([kind, count]) =>
        atLeast(`leaves: ${kind}`, count, Math.max(1, Math.floor(minutes * MIN_LEAVES_PER_KIND_PER_MINUTE))),
      ),
      atLeast(
        'share of those that came back that came to serve',
        result.joinsThatServed / result.joins,
        MIN_SHARE_OF_JOINS_THAT_SERVE,
      ),
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

function answered({ requests, wrong, lost }: LoadTotals): number {
  return requests - wrong - lost;
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

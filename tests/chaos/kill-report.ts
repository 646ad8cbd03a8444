import { atLeast, atMost, benchReport, exactly } from '../bench/report.ts';
import type { BenchReport } from '../bench/report.ts';
import type { KillResult } from './kill.ts';
import { quantile } from './quantile.ts';

const MAX_MEDIAN_PAUSE_MS = 1_000;
/** While a stage leaves, no step may take longer than so many median steps. */
const MAX_GAP_SHARE = 3;
const QUANTILES = [0.5, 0.9, 0.99, 1] as const;

/** @param cases how many kills were asked for: fewer have shown less. */
export function killReport({ adapter, kills, leaves }: KillResult, cases: number): BenchReport {
  const pauses = kills.map(({ pauseMs }) => pauseMs);
  const gaps = leaves.flatMap(({ gapsMs }) => gapsMs);
  const gapRow = (what: string, ms: readonly number[]) => ({
    what,
    steps: ms.length,
    ...Object.fromEntries(QUANTILES.map((share) => [`${share * 100} % ms`, quantile(ms, share)])),
    'longest / median': quantile(ms, 1) / quantile(ms, 0.5),
  });
  return benchReport(
    'kill',
    adapter,
    [
      {
        title: 'kill -9 of a stage',
        rows: kills.map(
          ({ stage, phase, outcome, rowsBefore, tokensBefore, noticedMs, pauseMs, code, misses }) => ({
            stage,
            phase,
            answer: outcome,
            'rows it was fed': rowsBefore,
            'tokens so far': tokensBefore,
            'noticed after ms': noticedMs,
            'then a pause of ms': pauseMs,
            'noticed as': code,
            'missed tries': misses,
          }),
        ),
      },
      {
        title: 'Between tokens, while a stage leaves',
        rows: leaves.flatMap(({ stage, gapsBeforeMs, gapsMs, gapsAfterMs }) => [
          gapRow(`before the ${stage} stage is told to`, gapsBeforeMs),
          gapRow('the answer under way, from then on', gapsMs),
          gapRow('answers after it, over other stages', gapsAfterMs),
        ]),
      },
    ],
    [
      exactly('kills', kills.length, cases),
      exactly('answers other than golden', kills.filter(({ outcome }) => outcome !== 'right').length, 0),
      atMost('median pause ms', quantile(pauses, 0.5), MAX_MEDIAN_PAUSE_MS),
      exactly('leaves with another answer than golden', leaves.filter(({ allRight }) => !allRight).length, 0),
      atLeast('steps while stages leave', gaps.length, 100),
      atMost(
        'longest step of a leave / median',
        Math.max(...leaves.map(({ gapsMs }) => quantile(gapsMs, 1) / quantile(gapsMs, 0.5))),
        MAX_GAP_SHARE,
      ),
    ],
  );
}

import { atLeast, atMost, benchReport, exactly } from '../bench/report.ts';
import type { BenchReport } from '../bench/report.ts';
import { HOSTILE_KINDS } from './hostile-kinds.ts';
import { AT_ONCE, REQUESTERS } from './hostile-run.ts';
import type { HostileResult } from './hostile-run.ts';

const MIB = 1024 ** 2;
/** What an honest stage may come to take more while it is harmed: queues, links, compiled code. */
const MAX_GROWTH_BYTES = 256 * MIB;
/** What every hostile peer did, and what it must not have done. */
export function hostileReport({ adapter, cases, memory }: HostileResult): BenchReport {
  return benchReport(
    'hostile',
    adapter,
    [
      {
        title: 'Hostile peers',
        rows: cases.map(({ kind, taken, answers, wrong, lost, codes, honestNamed, pausesMs, wasShown }) => ({
          kind,
          what: HOSTILE_KINDS[kind],
          taken,
          answers,
          wrong,
          lost,
          'named with': codes.join(', '),
          'honest named': honestNamed,
          'longest pause s': pausesMs.length === 0 ? null : Math.max(...pausesMs) / 1000,
          'shown as suspect': wasShown ? 'yes' : 'no',
        })),
      },
      {
        title: 'The log of the server',
        rows: cases.flatMap(({ kind, logLines }) => logLines.slice(0, 3).map((line) => ({ kind, line }))),
      },
      {
        title: 'Memory of the honest stages',
        rows: memory.map(({ name, beforeBytes, mostBytes }) => ({
          name,
          'before MiB': Math.round(beforeBytes / MIB),
          'most MiB': Math.round(mostBytes / MIB),
        })),
      },
    ].filter(({ rows }) => rows.length > 0),
    [
      ...cases.flatMap(({ kind, taken, answers, wrong, lost, codes, logLines, cutOffs }) => [
        atLeast(`${kind}: answers`, answers, 1),
        exactly(`${kind}: wrong answers`, wrong, 0),
        exactly(`${kind}: lost answers`, lost, 0),
        // Whoever was harmed once is not given it again.
        atMost(`${kind}: requests that it was given`, taken, REQUESTERS * AT_ONCE),
        atLeast(`${kind}: named in the log`, logLines.length, 1),
        // Who floods may be cut off before anybody is given to it.
        ...(kind === 'flood'
          ? [atLeast(`${kind}: frames that nobody took`, cutOffs, 1)]
          : [
              atLeast(`${kind}: requests that it was given`, taken, 1),
              atLeast(`${kind}: named to its requesters`, codes.length, 1),
            ]),
      ]),
      ...memory.map(({ name, beforeBytes, mostBytes }) =>
        atMost(`${name}: growth in MiB`, Math.round((mostBytes - beforeBytes) / MIB), MAX_GROWTH_BYTES / MIB),
      ),
    ],
  );
}

import { atLeast, atMost, benchReport, exactly } from '../bench/report.ts';
import type { BenchReport } from '../bench/report.ts';
import type { FuzzOptions, FuzzResult } from './fuzz.ts';

const ASKED_PER_BYTE_CAP = 4;
/** A fuzz whose input is hardly ever taken, or nearly always, has looked at one half of the code. */
const MIN_SHARE = 0.005;

/** What was tried and what became of it, and what it must show. */
export function fuzzReport(
  { frames, messages, seed }: Omit<FuzzOptions, 'onProgress'>,
  result: FuzzResult,
  seconds: number,
): BenchReport {
  const { tallies, missingTypes, mostAskedPerByte, uncaught } = result;
  const tried = (target: string) => tallies.find((tally) => tally.target === target)?.tried ?? 0;
  return benchReport(
    'fuzz',
    'CPU',
    [
      { title: 'Run', rows: [{ seed, frames, messages, seconds: Math.round(seconds) }] },
      {
        title: 'Mutated input',
        rows: tallies.map(({ target, accepted, rejected, problemCount }) => ({
          target,
          accepted,
          refused: [...rejected].map(([code, count]) => `${count} ${code}`).join(', '),
          problems: problemCount,
        })),
      },
      { title: 'Problems', rows: problemsOf(result).map((problem) => ({ problem })) },
    ].filter(({ rows }) => rows.length > 0),
    [
      atLeast('frames through the decoder', tried('frame decoder'), frames),
      atLeast('messages through the decoder', tried('client messages'), messages),
      exactly('frame types that were left out', missingTypes.length, 0),
      ...tallies.map(({ target, problemCount }) => exactly(`problems: ${target}`, problemCount, 0)),
      exactly('errors that nobody caught', uncaught.length, 0),
      atMost('bytes asked for per byte of a frame', mostAskedPerByte, ASKED_PER_BYTE_CAP),
      ...['frame decoder', 'client messages', 'server messages'].flatMap((target) => {
        const tally = tallies.find((each) => each.target === target);
        const share = (count: number) => count / Math.max(1, tally?.tried ?? 0);
        return [
          atLeast(`share taken: ${target}`, share(tally?.accepted ?? 0), MIN_SHARE),
          atLeast(`share refused: ${target}`, share(tally?.rejections ?? 0), MIN_SHARE),
        ];
      }),
    ],
  );
}

export function problemsOf({ tallies, uncaught, missingTypes }: FuzzResult): string[] {
  return [
    ...missingTypes.map((type) => `No generator makes ${type} frames.`),
    ...tallies.flatMap(({ problems }) => problems),
    ...uncaught.map((words) => `nobody caught: ${words}`),
  ];
}

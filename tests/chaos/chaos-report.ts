import { atLeast, atMost, benchReport, exactly } from '../bench/report.ts';
import type { BenchReport, Table } from '../bench/report.ts';
import type { AnswerRecord } from './ask.ts';
import type { ChaosResult } from './chaos.ts';
import { growthsOf, summarizeLife } from './memory-watch.ts';
import type { MemorySummary } from './memory-watch.ts';
import { FAULT_KINDS } from './plan.ts';
import { quantile } from './quantile.ts';

const MIB = 1024 ** 2;
/** What two cores answer while things go wrong. */
const MIN_ANSWERS_PER_MINUTE = 20;
const MIN_FAULTS_PER_MINUTE = 6;
/** From here on a run has every kind of fault. */
const ALL_KINDS_MS = 180_000;
/** What a process keeps at the end, against what it kept when it was warm. */
const MAX_GROWTH = 1.5;
/** Upper ends, seconds. */
const PAUSE_BOUNDS = [0.25, 0.5, 1, 2, 4, 8, 16, 32, Infinity] as const;

/** A run in figures, and what it must show. One in which little went wrong, or hardly anybody asked, has shown nothing, and fails. */
export function chaosReport(result: ChaosResult, durationMs: number): BenchReport {
  const { answers, faults, lives } = result;
  const minutes = durationMs / 60_000;
  const count = (outcome: AnswerRecord['outcome']) =>
    answers.filter((answer) => answer.outcome === outcome).length;
  const memory = lives.map((life) => summarizeLife(life, durationMs)).filter((summary) => summary !== null);
  const kinds = new Set(faults.map(({ fault }) => fault.kind));
  return benchReport(
    'chaos',
    result.adapter,
    [
      {
        title: 'Answers',
        rows: [
          {
            'warm-up s': result.warmUpSeconds,
            seconds: result.seconds,
            answers: answers.length,
            right: count('right'),
            wrong: count('wrong'),
            lost: count('lost'),
            hung: count('hung') + result.unfinished,
            tokens: answers.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0),
            interruptions: interruptions(answers).length,
            'most in one answer': Math.max(0, ...answers.map((answer) => answer.interruptions.length)),
            'median answer s': quantile(durations(answers), 0.5),
            'slowest answer s': quantile(durations(answers), 1),
          },
        ],
      },
      faultTable(result),
      interruptionTable(answers),
      pauseTable(answers),
      memoryTable(memory),
    ].filter(({ rows }) => rows.length > 0),
    [
      atLeast('answers', answers.length, Math.floor(minutes * MIN_ANSWERS_PER_MINUTE)),
      exactly('wrong answers', count('wrong'), 0),
      exactly('lost answers', count('lost'), 0),
      exactly('answers that hung', count('hung') + result.unfinished, 0),
      atLeast('faults', faults.length, Math.floor(minutes * MIN_FAULTS_PER_MINUTE)),
      ...(durationMs < ALL_KINDS_MS ? [] : [exactly('kinds of faults', kinds.size, FAULT_KINDS.length)]),
      atLeast('interruptions of answers', interruptions(answers).length, 1),
      exactly('peers that ended by themselves', result.crashes.length, 0),
      atLeast('processes whose memory was watched for long enough', memory.length, 1),
      atMost('memory at the end / when warm, worst process', quantile(growthsOf(memory), 1), MAX_GROWTH),
    ],
  );
}

function interruptions(answers: readonly AnswerRecord[]) {
  return answers.flatMap((answer) => answer.interruptions);
}

function durations(answers: readonly AnswerRecord[]): number[] {
  return answers.map(({ startedAtMs, endedAtMs }) => (endedAtMs - startedAtMs) / 1000);
}

function faultTable({ faults, harmedMessages }: ChaosResult): Table {
  return {
    title: `Faults; ${harmedMessages} messages were harmed`,
    rows: FAULT_KINDS.map((kind) => {
      const ofKind = faults.filter(({ fault }) => fault.kind === kind);
      const waits = ofKind.map(({ waitedMs }) => waitedMs / 1000);
      return { fault: kind, times: ofKind.length, 'longest wait for a whole mesh s': quantile(waits, 1) };
    }),
  };
}

function interruptionTable(answers: readonly AnswerRecord[]): Table {
  const codes = new Map<string, number>();
  for (const { code } of interruptions(answers)) codes.set(code, (codes.get(code) ?? 0) + 1);
  return {
    title: 'What interrupted answers',
    rows: [...codes].map(([code, times]) => ({ code, times })),
  };
}

function pauseTable(answers: readonly AnswerRecord[]): Table {
  const pauses = interruptions(answers).flatMap(({ atMs, resumedAtMs }) =>
    resumedAtMs === null ? [] : [(resumedAtMs - atMs) / 1000],
  );
  return {
    title: `Pauses, from the notice to the next token; median ${quantile(pauses, 0.5).toFixed(2)} s`,
    rows: PAUSE_BOUNDS.map((bound, index) => {
      const above = PAUSE_BOUNDS[index - 1] ?? 0;
      const times = pauses.filter((pause) => pause > above && pause <= bound).length;
      return { 'up to s': bound === Infinity ? 'more' : String(bound), times };
    }),
  };
}

function memoryTable(memory: readonly MemorySummary[]): Table {
  const growths = growthsOf(memory);
  return {
    title: 'Resident memory, MiB, of processes that lived long enough to tell',
    rows: memory.map(({ name, seconds, startBytes, steadyBytes, peakBytes, endBytes }, index) => ({
      process: name,
      'lived s': seconds,
      start: startBytes / MIB,
      warm: steadyBytes / MIB,
      peak: peakBytes / MIB,
      end: endBytes / MIB,
      'end / warm, of itself or its kind': growths[index] ?? NaN,
    })),
  };
}

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { quantile } from './quantile.ts';

const SAMPLE_INTERVAL_MS = 1_000;
/** After this a process has loaded and compiled, and what it keeps for later is there; it is steady for as long again. */
const WARM_UP_MS = 30_000;
/** A short run has less time for it. */
const WARM_UP_SHARE = 1 / 5;
/** The end is what it was in this time. */
const END_MS = 10_000;

interface Sample {
  readonly atMs: number;
  readonly bytes: number;
}

/** What one process took, from its first sample to its last. */
export interface ProcessLife {
  readonly name: string;
  readonly samples: readonly Sample[];
}

export interface MemorySummary {
  readonly name: string;
  readonly seconds: number;
  readonly startBytes: number;
  readonly peakBytes: number;
  /** Medians of the time after the warm-up, and of the last seconds. */
  readonly steadyBytes: number;
  readonly endBytes: number;
}

/** Resident memory of processes, once a second; a process that is started again has another life. */
export class MemoryWatch {
  readonly #pids: ReadonlyMap<string, () => number | null>;
  readonly #lives = new Map<string, { readonly name: string; readonly samples: Sample[] }>();
  readonly #timer: NodeJS.Timeout;

  constructor(pids: ReadonlyMap<string, () => number | null>) {
    this.#pids = pids;
    this.#timer = setInterval(() => this.#sample(), SAMPLE_INTERVAL_MS);
  }

  get lives(): readonly ProcessLife[] {
    return [...this.#lives.values()];
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #sample(): void {
    for (const [name, pidOf] of this.#pids) {
      const pid = pidOf();
      const bytes = pid === null ? null : residentBytes(pid);
      if (bytes === null) continue;
      const key = `${name} ${pid ?? 0}`;
      const life = this.#lives.get(key) ?? { name, samples: [] };
      life.samples.push({ atMs: performance.now(), bytes });
      this.#lives.set(key, life);
    }
  }
}

/** @param runMs how long everything goes on. @returns null for lives too short to tell. */
export function summarizeLife({ name, samples }: ProcessLife, runMs: number): MemorySummary | null {
  const warmUpMs = Math.min(WARM_UP_MS, runMs * WARM_UP_SHARE);
  const startMs = samples[0]?.atMs ?? 0;
  const endMs = samples.at(-1)?.atMs ?? 0;
  if (endMs - startMs < 2 * warmUpMs + END_MS) return null;
  const between = (fromMs: number, toMs: number) =>
    samples.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs).map(({ bytes }) => bytes);
  return {
    name,
    seconds: (endMs - startMs) / 1000,
    startBytes: samples[0]?.bytes ?? NaN,
    peakBytes: Math.max(...samples.map(({ bytes }) => bytes)),
    steadyBytes: quantile(between(startMs + warmUpMs, startMs + 2 * warmUpMs), 0.5),
    endBytes: quantile(between(endMs - END_MS, endMs), 0.5),
  };
}

/**
 * Of each, its end over what it takes when warm: its own figure, or the median of its kind where that is more. A process that
 * had nothing to do while it should have warmed up says little of what it takes, and its like do.
 */
export function growthsOf(lives: readonly MemorySummary[]): number[] {
  const kindOf = ({ name }: MemorySummary) => name.replace(/ \d+$/, '');
  return lives.map((life) => {
    const alike = lives.filter((other) => kindOf(other) === kindOf(life));
    const usualBytes = quantile(
      alike.map(({ steadyBytes }) => steadyBytes),
      0.5,
    );
    return life.endBytes / Math.max(life.steadyBytes, usualBytes);
  });
}

/** @returns null for a process that is gone. */
function residentBytes(pid: number): number | null {
  try {
    if (process.platform !== 'linux') {
      return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) * 1024;
    }
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kib === undefined ? null : Number(kib) * 1024;
  } catch {
    return null;
  }
}

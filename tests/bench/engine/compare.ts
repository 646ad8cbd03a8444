import { relativeError } from '../../reference/relative-error.ts';
import { interleave } from '../timing.ts';
import type { Timing } from '../timing.ts';
import type { Decoder } from './decoder.ts';

export interface CompareTask {
  readonly prompt: readonly number[];
  /** Tokens that each engine writes after the prompt, to be the same. */
  readonly answerTokens: number;
  /** Positions in the cache when decoding is timed. */
  readonly contextTokens: number;
  readonly prefillTokens: number;
  readonly rounds: number;
  /** A measurement ends early when it took this long; slow engines on slow adapters. */
  readonly budgetMs: number;
}

export interface Comparison {
  /** In order of the engines; ours first. */
  readonly engines: readonly {
    readonly name: string;
    readonly answer: readonly number[];
    /** Relative L2 distance of the logits after the prompt to ours. */
    readonly logitsError: number;
    /** Per token. */
    readonly decode: Timing;
    readonly prefill: Timing;
  }[];
}

/** Tokens per timed decode, unless they take longer than `DECODE_RUN_MS`. */
const DECODE_TOKENS = 16;
const DECODE_RUN_MS = 8000;

/** Outputs first, which warms everything up, then speeds, the engines in turn. */
export async function compare(
  engines: readonly Decoder[],
  task: CompareTask,
  onProgress: (line: string) => void,
): Promise<Comparison> {
  const logits: Float32Array[] = [];
  const answers: number[][] = [];
  for (const engine of engines) {
    onProgress(`${engine.name}: answers`);
    logits.push(await engine.logits(task.prompt));
    answers.push(await answer(engine, task));
  }
  const { rounds, budgetMs, contextTokens, prefillTokens } = task;
  onProgress('decode, in turn');
  const decode = await interleave(
    engines.map((engine) => ({ name: engine.name, run: () => decodeMs(engine, contextTokens) })),
    { rounds, warmUps: 0, budgetMs },
  );
  onProgress('prefill, in turn');
  const ids = repeated(task.prompt, prefillTokens);
  const prefill = await interleave(
    engines.map((engine) => ({ name: engine.name, run: () => elapsedMs(() => engine.prefill(ids)) })),
    { rounds, warmUps: 0, budgetMs },
  );
  return {
    engines: engines.map(({ name }, index) => ({
      name,
      answer: at(answers, index),
      logitsError: relativeError(at(logits, index), at(logits, 0)),
      decode: at(decode, index),
      prefill: at(prefill, index),
    })),
  };
}

async function answer(
  engine: Decoder,
  { prompt, answerTokens }: Pick<CompareTask, 'prompt' | 'answerTokens'>,
): Promise<number[]> {
  const tokens = [await engine.prefill(prompt)];
  while (tokens.length < answerTokens) {
    tokens.push(await engine.decode(tokens.at(-1) ?? 0, prompt.length + tokens.length - 1));
  }
  return tokens;
}

/** Whatever the cache holds: attention takes as long over any numbers. @returns milliseconds per token */
async function decodeMs(engine: Decoder, contextTokens: number): Promise<number> {
  let token = 1;
  let count = 0;
  const startedMs = performance.now();
  let nowMs = startedMs;
  while (count < DECODE_TOKENS && nowMs - startedMs < DECODE_RUN_MS) {
    token = await engine.decode(token, contextTokens + count);
    nowMs = performance.now();
    count += 1;
  }
  return (nowMs - startedMs) / count;
}

async function elapsedMs(action: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await action();
  return performance.now() - startedMs;
}

function repeated(ids: readonly number[], length: number): number[] {
  return Array.from({ length }, (_, index) => ids[index % ids.length] ?? 0);
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`There is no item ${index} of ${items.length}.`);
  return item;
}

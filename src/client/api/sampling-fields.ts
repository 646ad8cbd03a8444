import * as v from 'valibot';
import {
  MAX_LOGIT_BIASES,
  MAX_SEQUENCE_TOKENS,
  MAX_TIME_LIMIT_MS,
  MAX_TOP_LOG_PROBABILITIES,
} from '../../protocol/limits.ts';
import { BANNING_BIAS, GREEDY } from '../../protocol/sampling.ts';
import type { SamplingParams } from '../../protocol/sampling.ts';
import { describeValue } from './describe-value.ts';
import { namedValues, optional } from './request-body.ts';

/** Answers to one question. Each takes as much of the mesh as a question of its own. */
export const MAX_CHOICES = 16;
/** What OpenAI's API has. */
export const MAX_STOP_STRINGS = 4;
/** All of them are looked for after every token. */
const MAX_STOP_STRING_CHARACTERS = 512;
/** Keeps the most probable token and no other: a share of nothing cannot be had. */
const LEAST_TOP_P = 1e-6;

export function wholeNumber(min: number, max: number) {
  return v.pipe(
    v.number(),
    v.check(
      (value) => Number.isInteger(value) && value >= min && value <= max,
      ({ input }) => `must be a whole number from ${min} to ${max}, and is ${describeValue(input)}`,
    ),
  );
}

export function numberBetween(min: number, max: number) {
  return v.pipe(
    v.number(),
    v.check(
      (value) => value >= min && value <= max,
      ({ input }) => `must be from ${min} to ${max}, and is ${describeValue(input)}`,
    ),
  );
}

export function oneOf<const Options extends readonly string[]>(...options: Options) {
  return v.picklist(options);
}

export const tokenCount = wholeNumber(1, MAX_SEQUENCE_TOKENS);
export const topLogProbabilityCount = wholeNumber(0, MAX_TOP_LOG_PROBABILITIES);
export const choiceCount = wholeNumber(1, MAX_CHOICES);
/** Top-p as the APIs have it: 0 is the most probable token alone. */
export const topP = v.pipe(
  numberBetween(0, 1),
  v.transform((share) => Math.max(share, LEAST_TOP_P)),
);

const stopString = v.pipe(
  v.string(),
  v.check(
    (text) => text !== '' && text.length <= MAX_STOP_STRING_CHARACTERS,
    `must have 1 to ${MAX_STOP_STRING_CHARACTERS} characters`,
  ),
);

/** One stop string or several, or none. */
export function stopStrings(mostStrings: number) {
  return v.pipe(
    v.nullish(
      v.lazy((input) =>
        Array.isArray(input)
          ? v.pipe(
              v.array(stopString),
              v.check(
                (strings) => strings.length <= mostStrings,
                ({ input: strings }) => `takes at most ${mostStrings} strings, and has ${strings.length}`,
              ),
            )
          : stopString,
      ),
    ),
    v.transform((input): readonly string[] => (typeof input === 'string' ? [input] : (input ?? []))),
  );
}

/** `{"50256": -100}` → [[50256, -100]]. */
const logitBias = v.pipe(
  namedValues(numberBetween(BANNING_BIAS, 100)),
  v.check(
    (biases) => Object.keys(biases).length <= MAX_LOGIT_BIASES,
    `takes at most ${MAX_LOGIT_BIASES} tokens`,
  ),
  v.check(
    (biases) => Object.keys(biases).every((key) => /^\d{1,10}$/.test(key) && Number(key) <= 0xffff_ffff),
    'has keys that are no token ids. Name tokens by their numbers: {"50": -100}',
  ),
  v.transform((biases) => Object.entries(biases).map(([id, bias]): [number, number] => [Number(id), bias])),
);

/** Any whole number: what counts are its low 32 bits. */
export const seed = v.pipe(
  v.number(),
  v.check(
    (value) => Number.isSafeInteger(value),
    ({ input }) => `must be a whole number of at most 53 bits, and is ${describeValue(input)}`,
  ),
  v.transform((value) => value >>> 0),
);

/** What OpenAI's chat and text completions have in common about sampling. */
export const openAiSamplingEntries = {
  temperature: optional(numberBetween(0, 2)),
  top_p: optional(topP),
  presence_penalty: optional(numberBetween(-2, 2)),
  frequency_penalty: optional(numberBetween(-2, 2)),
  logit_bias: optional(logitBias),
  seed: optional(seed),
} as const;

/** What we add to every API, as other servers do. */
export const extensionEntries = {
  /** 0 and -1 keep all. */
  top_k: optional(
    v.pipe(
      wholeNumber(-1, 0xffff_ffff),
      v.transform((count) => Math.max(0, count)),
    ),
  ),
  min_p: optional(numberBetween(0, 1)),
  repetition_penalty: optional(numberBetween(0.01, 100)),
  min_tokens: optional(wholeNumber(0, MAX_SEQUENCE_TOKENS)),
  /** For the whole answer, waiting included. */
  time_limit_seconds: optional(numberBetween(0.001, MAX_TIME_LIMIT_MS / 1000)),
} as const;

type SamplingEntries = typeof openAiSamplingEntries & typeof extensionEntries;
type SamplingFields = { readonly [Name in keyof SamplingEntries]?: v.InferOutput<SamplingEntries[Name]> };

/** @param topLogProbabilities to report with each token. */
export function samplingOf(body: SamplingFields, topLogProbabilities: number): SamplingParams {
  return {
    ...GREEDY,
    temperature: body.temperature ?? 1,
    topP: body.top_p ?? 1,
    topK: body.top_k ?? 0,
    minP: body.min_p ?? 0,
    presencePenalty: body.presence_penalty ?? 0,
    frequencyPenalty: body.frequency_penalty ?? 0,
    repetitionPenalty: body.repetition_penalty ?? 1,
    logitBias: body.logit_bias ?? [],
    minTokens: body.min_tokens ?? 0,
    seed: body.seed ?? randomSeed(),
    topLogProbabilities,
  };
}

/** For who names no seed: two such questions get two answers. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}

/** Whole milliseconds, for a query. */
export function timeLimitOf(seconds: number | null | undefined): { timeLimitMs?: number } {
  return typeof seconds === 'number' ? { timeLimitMs: Math.ceil(seconds * 1000) } : {};
}

import * as v from 'valibot';
import {
  MAX_HISTORY_TOKENS,
  MAX_LOGIT_BIASES,
  MAX_SEQUENCE_TOKENS,
  MAX_TOP_LOG_PROBABILITIES,
} from './limits.ts';

/** A bias at or below this bans the token. */
export const BANNING_BIAS = -100;

const u32 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));
const between = (min: number, max: number) =>
  v.pipe(v.number(), v.finite(), v.minValue(min), v.maxValue(max));

/**
 * How the last stage picks a token. In this order: penalties, biases and bans change the logits; temperature scales them; top-k,
 * top-p and min-p leave out the unlikely; the draw takes one. Log-probabilities are always those of the unchanged logits.
 */
export const samplingSchema = v.object({
  /** 0 is greedy. */
  temperature: between(0, 100),
  /** Keeps this many of the most probable tokens; 0 keeps all. */
  topK: u32,
  /** Keeps, of the rest, the most probable tokens that together have this share; 1 keeps all. */
  topP: v.pipe(v.number(), v.gtValue(0), v.maxValue(1)),
  /** Keeps, of the rest, what is at least this share of the largest probability as likely; 0 keeps all. */
  minP: between(0, 1),
  /** Divides positive logits of tokens in prompt or answer, and multiplies negative ones; 1 is off. */
  repetitionPenalty: between(0.01, 100),
  /** Taken from the logit of every token in the answer. */
  presencePenalty: between(-2, 2),
  /** Taken from the logit of a token once for each time it is in the answer. */
  frequencyPenalty: between(-2, 2),
  /** Added to logits: [token id, bias]; `BANNING_BIAS` bans the token. A token is named once. */
  logitBias: v.pipe(
    v.array(v.strictTuple([u32, between(BANNING_BIAS, 100)])),
    v.maxLength(MAX_LOGIT_BIASES),
    v.check((biases) => new Set(biases.map(([id]) => id)).size === biases.length, 'names a token twice'),
  ),
  /** The most probable tokens to report with each token, most probable first. */
  topLogProbabilities: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_TOP_LOG_PROBABILITIES)),
  /** Stop tokens are banned until the answer has this many tokens. */
  minTokens: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_SEQUENCE_TOKENS)),
  /** Same seed, same prompt, same answer. u32. */
  seed: u32,
});
export type SamplingParams = v.InferOutput<typeof samplingSchema>;

/** The most probable token every time, and nothing else. */
export const GREEDY: SamplingParams = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: [],
  topLogProbabilities: 0,
  minTokens: 0,
  seed: 0,
};

/** `GREEDY` but for what is given. */
export function sampling(params: Partial<SamplingParams>): SamplingParams {
  return { ...GREEDY, ...params };
}

/** Whether tokens of the answer change what comes next. */
export function hasPenalties({
  repetitionPenalty,
  presencePenalty,
  frequencyPenalty,
}: SamplingParams): boolean {
  return repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
}

/**
 * Tokens that penalties count and the last stage has not sampled itself. At most `MAX_HISTORY_TOKENS` of each; where there are
 * more, the latest.
 */
export const requestHistorySchema = v.object({
  /** Distinct ids of the prompt; empty where the repetition penalty is off. */
  prompt: v.pipe(v.array(u32), v.maxLength(MAX_HISTORY_TOKENS)),
  /** [token id, how often] of an answer that another route began; empty where all penalties are off. A token is named once. */
  generated: v.pipe(
    v.array(
      v.strictTuple([u32, v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_SEQUENCE_TOKENS))]),
    ),
    v.maxLength(MAX_HISTORY_TOKENS),
    v.check((counts) => new Set(counts.map(([id]) => id)).size === counts.length, 'names a token twice'),
  ),
});
export type RequestHistory = v.InferOutput<typeof requestHistorySchema>;

export const NO_HISTORY: RequestHistory = { prompt: [], generated: [] };

/** Whether log-probabilities are finite and never rise, and no token is named twice. */
export function isTopOrder(top: readonly TokenLogProbability[]): boolean {
  return (
    new Set(top.map(({ tokenId }) => tokenId)).size === top.length &&
    top.every(
      ({ logProbability }, rank) =>
        Number.isFinite(Math.fround(logProbability)) &&
        logProbability <= (top[rank - 1]?.logProbability ?? Infinity),
    )
  );
}

/** A token, and its natural log-probability under the unmodified softmax. */
export interface TokenLogProbability {
  readonly tokenId: number;
  readonly logProbability: number;
}

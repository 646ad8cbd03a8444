import type { Random } from './random.ts';

/** Tokens of a question and of its answer. */
export interface RequestLength {
  readonly promptTokens: number;
  readonly answerTokens: number;
}

/** Mean and deviation of the tokens of one turn, as published. */
interface Moments {
  readonly mean: number;
  readonly deviation: number;
}

export interface LengthDistribution {
  readonly name: string;
  readonly prompt: Moments;
  readonly answer: Moments;
  /** Longer ones are cut, as benchmarks of serving cut or drop them. */
  readonly maxPromptTokens: number;
  readonly maxAnswerTokens: number;
}

/**
 * Log-normal with the means and deviations per turn of table 1 of "WildChat: 1M ChatGPT Interaction Logs in the Wild"
 * (arXiv 2405.01470), in tokens of Llama 2. The deviations of prompts are several means: most are a line, few are pages.
 */
export const SHARE_GPT: LengthDistribution = {
  name: 'ShareGPT-like',
  prompt: { mean: 94.46, deviation: 626.39 },
  answer: { mean: 348.45, deviation: 269.93 },
  maxPromptTokens: 1024,
  maxAnswerTokens: 1024,
};

/** See `SHARE_GPT`. */
export const WILD_CHAT: LengthDistribution = {
  name: 'WildChat-like',
  prompt: { mean: 295.58, deviation: 1609.18 },
  answer: { mean: 441.34, deviation: 410.91 },
  maxPromptTokens: 1024,
  maxAnswerTokens: 1024,
};

export function drawLength(distribution: LengthDistribution, random: Random): RequestLength {
  const { prompt, answer, maxPromptTokens, maxAnswerTokens } = distribution;
  return {
    promptTokens: wholeTokens(drawLogNormal(prompt, random), maxPromptTokens),
    answerTokens: wholeTokens(drawLogNormal(answer, random), maxAnswerTokens),
  };
}

/** The log-normal distribution of given mean m and deviation d: σ² = ln(1 + d²/m²), μ = ln m − σ²/2. */
function drawLogNormal({ mean, deviation }: Moments, random: Random): number {
  const variance = Math.log(1 + (deviation / mean) ** 2);
  return Math.exp(Math.log(mean) - variance / 2 + Math.sqrt(variance) * random.normal());
}

function wholeTokens(value: number, most: number): number {
  return Math.min(most, Math.max(1, Math.round(value)));
}

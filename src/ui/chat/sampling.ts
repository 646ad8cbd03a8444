import { sampling } from '../../protocol/sampling.ts';
import type { SamplingParams } from '../../protocol/sampling.ts';

/** What a person may set. */
export interface SamplingSettings {
  /** 0 is greedy: the same question gets the same answer. */
  readonly temperature: number;
  readonly maxTokens: number;
}

export const MAX_TEMPERATURE = 2;

/** The temperature, top-k and top-p that Qwen 3 recommends for chat: https://huggingface.co/Qwen/Qwen3-0.6B */
export const DEFAULT_SETTINGS: SamplingSettings = { temperature: 0.6, maxTokens: 256 };
const TOP_K = 20;
const TOP_P = 0.95;

/** @param seed u32. */
export function samplingParams({ temperature }: SamplingSettings, seed: number): SamplingParams {
  return sampling({ temperature, topK: TOP_K, topP: TOP_P, seed });
}

/** Brings typed numbers into range; what is no number becomes the default. */
export function clampSettings(settings: SamplingSettings, contextLength: number): SamplingSettings {
  const { temperature, maxTokens } = settings;
  return {
    temperature: Number.isFinite(temperature)
      ? Math.min(Math.max(temperature, 0), MAX_TEMPERATURE)
      : DEFAULT_SETTINGS.temperature,
    maxTokens: Number.isFinite(maxTokens)
      ? Math.min(Math.max(Math.round(maxTokens), 1), contextLength)
      : Math.min(DEFAULT_SETTINGS.maxTokens, contextLength),
  };
}

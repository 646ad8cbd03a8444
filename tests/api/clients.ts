import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { inject } from 'vitest';

/** The embedded model, by the name that programs give. */
export const MODEL = 'skein-tiny';

const TIMEOUT_MS = 60_000;

/** OpenAI's own client. What fails fails at once: it would ask again otherwise. */
export function openai(serverUrl = inject('serverUrl'), apiKey = 'none'): OpenAI {
  return new OpenAI({ baseURL: `${serverUrl}/v1`, apiKey, maxRetries: 0, timeout: TIMEOUT_MS });
}

/** Anthropic's own client. */
export function anthropic(serverUrl = inject('serverUrl'), apiKey = 'none'): Anthropic {
  return new Anthropic({ baseURL: serverUrl, apiKey, maxRetries: 0, timeout: TIMEOUT_MS });
}

/** Resolves to what a promise was rejected with. @throws where it was not. */
export async function failureOf(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (thrown) {
    return thrown;
  }
  throw new Error('It did not fail.');
}

/** A question that draws by this seed. OpenAI calls the parameter deprecated; here it holds. */
export function withSeed<Question extends object>(question: Question, seed: number): Question {
  return Object.assign({}, question, { seed });
}

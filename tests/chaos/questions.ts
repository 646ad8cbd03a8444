import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Golden } from '../golden/golden-file.ts';
import { EMBEDDED_MODEL } from '../rig/local-server.ts';

/** A prompt, and the only right answer to it at temperature 0. */
export interface Question {
  readonly name: string;
  readonly promptIds: readonly number[];
  readonly answerIds: readonly number[];
  /** Stop tokens are banned until the answer has so many tokens. */
  readonly minTokens: number;
}

const LONG_QUESTIONS = resolve(import.meta.dirname, 'long-questions.json');

/** Short conversations, as computed in float64 by another implementation. */
export async function goldenQuestions(): Promise<Question[]> {
  const { cases } = JSON.parse(await readFile(join(EMBEDDED_MODEL, 'golden.json'), 'utf8')) as Golden;
  return cases.map(({ user, prompt_ids: promptIds, greedy_ids: answerIds }) => {
    return { name: user, promptIds, answerIds, minTokens: 0 };
  });
}

/** Prompts of several passes and answers of seconds; see make-long-questions.ts. */
export async function longQuestions(): Promise<Question[]> {
  return JSON.parse(await readFile(LONG_QUESTIONS, 'utf8')) as Question[];
}

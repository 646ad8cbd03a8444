import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Golden } from '../golden/golden-file.ts';
import { EMBEDDED_MODEL } from '../rig/local-server.ts';

/** Ends the model's answers; callers of an API do not see it. */
const END_MARK = '<|im_end|>';

const golden = JSON.parse(readFileSync(join(EMBEDDED_MODEL, 'golden.json'), 'utf8')) as Golden;

export interface GoldenAnswer {
  readonly question: string;
  readonly promptIds: readonly number[];
  /** Without the end mark. */
  readonly text: string;
  /** Tokens, with the end mark. */
  readonly tokenCount: number;
}

/** What the model answers at temperature 0, as another implementation computed it in float64. */
export const GOLDEN_ANSWERS: readonly GoldenAnswer[] = golden.cases.map((each) => ({
  question: each.user,
  promptIds: each.prompt_ids,
  text: each.text.replace(END_MARK, ''),
  tokenCount: each.greedy_ids.length,
}));

/** One of them, with the log-probability of every token of its answer, the end mark's last. */
export function scoredAnswer(): GoldenAnswer & { readonly logProbabilities: readonly number[] } {
  const { ids, token_logprobs: logProbabilities } = golden.probe;
  const answer = GOLDEN_ANSWERS.find(
    ({ promptIds, tokenCount }) =>
      promptIds.every((id, index) => ids[index] === id) && ids.length === promptIds.length + tokenCount,
  );
  if (answer === undefined) throw new Error('The probe of golden.json is of none of its answers.');
  // The first is that of the second token: nothing comes before the first.
  return { ...answer, logProbabilities: logProbabilities.slice(answer.promptIds.length - 1) };
}

/** The answer to one of the golden questions. */
export function goldenAnswer(question: string): GoldenAnswer {
  const answer = GOLDEN_ANSWERS.find((each) => each.question === question);
  if (answer === undefined) throw new Error(`golden.json has no "${question}".`);
  return answer;
}

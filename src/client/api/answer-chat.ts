import { maxSequenceTokens } from '../../protocol/slice-bytes.ts';
import { generate } from '../generate.ts';
import type { GenerateRequest, GenerateResult } from '../generation.ts';
import type { AnswerEnd, AnswerEvent, Usage } from './answer-events.ts';
import { randomHex } from './answer-head.ts';
import type { ApiModel } from './api-models.ts';
import type { ChatQuery } from './chat-query.ts';
import { ChoiceReader } from './choice-reader.ts';
import type { ReadPart } from './choice-reader.ts';
import { mergeChoices } from './merge-choices.ts';
import { blaming, constrainingParam, prepareQuestion } from './prepare-question.ts';
import type { PreparedQuestion } from './prepare-question.ts';

const CALL_ID_BYTES = 12;

type EndEvent = Extract<AnswerEvent, { type: 'end' }>;
/** What an answer has cost. */
interface ChoiceUsage {
  readonly question: number;
  readonly result: GenerateResult;
  readonly reasoningTokens: number;
}

/** The answers to one question. */
export function answerChat(
  query: ChatQuery,
  model: ApiModel,
  signal?: AbortSignal,
): AsyncGenerator<AnswerEvent, void, void> {
  return answerChats([query], model, signal);
}

/**
 * The answers to several questions, which the mesh computes all at once; choices are numbered over all of them, in order. Whoever
 * stops reading ends them; the signal does so at once.
 * @throws SkeinError as `generate` does; `bad-argument` with `data.param` before anything is asked of the mesh.
 */
export async function* answerChats(
  queries: readonly ChatQuery[],
  model: ApiModel,
  signal?: AbortSignal,
): AsyncGenerator<AnswerEvent, void, void> {
  const { card, tokenizer } = model;
  const prepared = queries.map((query) => prepareQuestion(query, tokenizer, maxSequenceTokens(card)));
  await checkConstraints(queries, prepared, model);
  yield { type: 'prompt', tokens: prepared.reduce((sum, { promptIds }) => sum + promptIds.length, 0) };

  const stopped = new AbortController();
  const ended = signal === undefined ? stopped.signal : AbortSignal.any([signal, stopped.signal]);
  const costs: ChoiceUsage[] = [];
  const choices = queries.flatMap((query, question) =>
    Array.from({ length: query.choices }, (_, index) => ({ query, question, index })),
  );
  const generators = choices.map(({ query, question, index }, choice) => {
    const preparedQuestion = prepared[question];
    if (preparedQuestion === undefined) throw new RangeError(`There is no question ${question}.`);
    const seed = (query.sampling.seed + index) >>> 0;
    const choiceQuery = { ...query, sampling: { ...query.sampling, seed } };
    return answerChoice(choiceQuery, preparedQuestion, model, choice, ended, (cost) =>
      costs.push({ ...cost, question }),
    );
  });
  yield* mergeChoices(generators, () => stopped.abort());
  yield { type: 'done', usage: usageOf(costs) };
}

async function checkConstraints(
  queries: readonly ChatQuery[],
  prepared: readonly PreparedQuestion[],
  model: ApiModel,
): Promise<void> {
  for (const [index, query] of queries.entries()) {
    const constraint = prepared[index]?.constraint ?? null;
    if (constraint === null) continue;
    try {
      await model.checkStructuralTag?.(constraint);
    } catch (thrown) {
      throw blaming(constrainingParam(query), thrown);
    }
  }
}

async function* answerChoice(
  query: ChatQuery,
  { promptIds, constraint, reading }: PreparedQuestion,
  { card, tokenizer, deps }: ApiModel,
  choice: number,
  signal: AbortSignal,
  onEnd: (cost: Omit<ChoiceUsage, 'question'>) => void,
): AsyncGenerator<AnswerEvent, void, void> {
  const contextTokens = maxSequenceTokens(card);
  const reader = new ChoiceReader(tokenizer, { ...reading, scoresTokens: query.scoresTokens ?? false });
  const request: GenerateRequest = {
    model: query.model,
    prompt: { kind: 'ids', ids: promptIds },
    maxTokens: query.maxTokens ?? contextTokens,
    contextTokens,
    sampling: query.sampling,
    reader,
    ...(constraint !== null && { constraint }),
    ...(query.timeLimitMs !== undefined && { timeLimitMs: query.timeLimitMs }),
  };
  for await (const event of generate(request, deps, signal)) {
    switch (event.type) {
      case 'token':
        for (const part of reader.take(event)) yield told(part, choice);
        break;
      case 'done': {
        for (const part of reader.end()) yield told(part, choice);
        const result = { ...event.result, text: reader.text };
        onEnd({ result, reasoningTokens: reader.reasoningTokens });
        yield endOf(reader, result, choice);
        break;
      }
      default:
        yield { type: 'progress', choice, progress: event };
    }
  }
}

function told(part: ReadPart, choice: number): AnswerEvent {
  if (part.type !== 'tool-call') return { ...part, choice };
  return { ...part, choice, id: `call_${randomHex(CALL_ID_BYTES)}` };
}

function endOf(reader: ChoiceReader, result: GenerateResult, choice: number): EndEvent {
  const end: AnswerEnd =
    reader.hasCalls && result.finishReason === 'stop' ? 'tool-calls' : result.finishReason;
  return { type: 'end', choice, end, stopString: reader.stopString, result };
}

/** A question counts once, however many answers it has; what one of them found in caches, another may have computed. */
function usageOf(costs: readonly ChoiceUsage[]): Usage {
  const questions = new Map<number, { promptTokens: number; cachedTokens: number }>();
  for (const { question, result } of costs) {
    const { promptTokens } = result;
    const known = questions.get(question)?.cachedTokens ?? promptTokens;
    questions.set(question, { promptTokens, cachedTokens: Math.min(known, result.cachedTokens) });
  }
  const asked = [...questions.values()];
  return {
    promptTokens: sum(asked.map(({ promptTokens }) => promptTokens)),
    cachedTokens: sum(asked.map(({ cachedTokens }) => cachedTokens)),
    completionTokens: sum(costs.map(({ result }) => result.tokenIds.length)),
    reasoningTokens: sum(costs.map(({ reasoningTokens }) => reasoningTokens)),
  };
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

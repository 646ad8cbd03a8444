import { SkeinError } from '../../protocol/errors.ts';
import { MAX_CONSTRAINT_CHARACTERS } from '../../protocol/limits.ts';
import type { Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { Prompt } from '../generation.ts';
import { answerForm, THINKING_SWITCH } from './answer-form.ts';
import type { AnswerForm } from './answer-form.ts';
import type { ChatQuery, ToolDefinition } from './chat-query.ts';
import type { OutputParserOptions } from './output-parser.ts';
import { badParam } from './request-body.ts';
import { structuralTag } from './structural-tag.ts';

/** No vocabulary has longer tokens, but for a few of spaces alone. */
const MAX_TOKEN_CHARACTERS = 128;

/** A question as the mesh takes it, and how its answers are to be read. */
export interface PreparedQuestion {
  readonly promptIds: readonly number[];
  /** A structural tag; null where the answer may be anything. */
  readonly constraint: string | null;
  readonly reading: OutputParserOptions;
}

/**
 * Renders and encodes a question.
 * @param contextTokens of question and answer, at most.
 * @throws SkeinError `bad-argument` naming the parameter that this model, or this mesh, cannot do.
 */
export function prepareQuestion(
  query: ChatQuery,
  tokenizer: Tokenizer,
  contextTokens: number,
): PreparedQuestion {
  const { prompt, stopStrings, isParallel } = query;
  const form = answerForm(tokenizer);
  const tools = callableTools(query, form);
  const written = prompt.kind === 'chat' ? writtenChat(query, tools, form, tokenizer, contextTokens) : null;
  const promptIds =
    written === null ? plainIds(prompt, tokenizer, contextTokens) : encode(written.text, query, tokenizer);
  checkRoom(promptIds.length, query, contextTokens);
  checkBiases(query, tokenizer);
  const { startsInReasoning = false, mayThink = false } = written ?? {};
  const reasoning = written === null ? null : form.reasoning;
  const calls = tools.length > 0 ? form.calls : null;
  const constraint = structuralTag({
    query,
    tools,
    calls,
    reasoning: mayThink ? reasoning : null,
    startsInReasoning,
  });
  if (constraint !== null && constraint.length > MAX_CONSTRAINT_CHARACTERS) {
    throw badParam(
      constrainingParam(query),
      `makes a grammar of ${constraint.length} characters, and ${MAX_CONSTRAINT_CHARACTERS} are the most. Use smaller schemas.`,
    );
  }
  const toolNames = new Set(tools.map(({ name }) => name));
  return {
    promptIds,
    constraint,
    reading: { reasoning, startsInReasoning, calls, toolNames, isParallel, stopStrings },
  };
}

/** The parameter that a constraint was made of. */
export function constrainingParam({ tools, toolChoice, paramNames }: ChatQuery): string {
  const hasTools = tools.length > 0 && toolChoice.kind !== 'none';
  return hasTools ? 'tools' : (paramNames?.shape ?? 'response_format');
}

/** The parameter that a prompt came by. */
function promptParam({ prompt, paramNames }: ChatQuery): string {
  return paramNames?.prompt ?? (prompt.kind === 'chat' ? 'messages' : 'prompt');
}

function callableTools(
  { tools, toolChoice, model }: ChatQuery,
  { calls }: AnswerForm,
): readonly ToolDefinition[] {
  if (toolChoice.kind === 'none' || tools.length === 0) return [];
  if (calls !== null) return tools.map(objectTool);
  throw badParam(
    'tools',
    `cannot be used with ${model}: its chat template does not tell it how to call. Choose another model, or leave them out.`,
  );
}

/** Arguments are an object, also where the schema does not say so. */
function objectTool(tool: ToolDefinition): ToolDefinition {
  const { parameters } = tool;
  if (typeof parameters !== 'object') return tool;
  const { type = 'object' } = parameters;
  if (type === 'object') return { ...tool, parameters: { type, ...parameters } };
  throw badParam('tools', `has '${tool.name}', whose parameters are no object. Wrap them in one.`);
}

interface WrittenChat {
  readonly text: string;
  readonly startsInReasoning: boolean;
  readonly mayThink: boolean;
}

function writtenChat(
  query: ChatQuery,
  tools: readonly ToolDefinition[],
  form: AnswerForm,
  tokenizer: Tokenizer,
  contextTokens: number,
): WrittenChat {
  const { prompt, thinks } = query;
  if (prompt.kind !== 'chat') throw new SkeinError('internal', 'Only conversations are rendered.');
  const contents = prompt.messages.map(({ content }) => content);
  checkLength(query, [...contents, JSON.stringify(tools)], contextTokens);
  const variables = thinks !== null && form.hasThinkingSwitch ? { [THINKING_SWITCH]: thinks } : {};
  const text = withParam(promptParam(query), () =>
    tokenizer.renderChat(prompt.messages, { tools: tools.map(openAiTool), variables }),
  );
  const { reasoning } = form;
  if (reasoning === null) return { text, startsInReasoning: false, mayThink: false };
  const end = text.trimEnd();
  if (end.endsWith(reasoning.close)) return { text, startsInReasoning: false, mayThink: false };
  const startsInReasoning = end.endsWith(reasoning.open);
  if (thinks !== false) return { text, startsInReasoning, mayThink: true };
  if (!startsInReasoning && !form.writesReasoning) return { text, startsInReasoning: false, mayThink: false };
  // A model without a switch does not think where it finds that it has.
  const opened = startsInReasoning ? end : `${text}${reasoning.open}`;
  return { text: `${opened}\n\n${reasoning.close}\n\n`, startsInReasoning: false, mayThink: false };
}

/** As templates expect it. */
function openAiTool({ name, description, parameters }: ToolDefinition): object {
  return {
    type: 'function',
    function: {
      name,
      ...(description !== undefined && { description }),
      parameters: parameters ?? { type: 'object', properties: {} },
    },
  };
}

function plainIds(prompt: Prompt, tokenizer: Tokenizer, contextTokens: number): readonly number[] {
  if (prompt.kind === 'ids') {
    const unknown = prompt.ids.find((id) => tokenizer.tokenBytes(id) === null);
    if (unknown === undefined) return prompt.ids;
    throw badParam('prompt', `has token ${unknown}, which the model's vocabulary lacks.`);
  }
  if (prompt.kind !== 'text') return [];
  checkTextLength('prompt', [prompt.text], contextTokens);
  return withParam('prompt', () => tokenizer.encode(prompt.text));
}

function encode(text: string, query: ChatQuery, tokenizer: Tokenizer): readonly number[] {
  return withParam(promptParam(query), () => tokenizer.encode(text));
}

function checkLength(query: ChatQuery, texts: readonly string[], contextTokens: number): void {
  checkTextLength(promptParam(query), texts, contextTokens);
}

/** Before anything is done with a text that cannot fit: encoding it would hold up everybody. */
function checkTextLength(param: string, texts: readonly string[], contextTokens: number): void {
  const characters = texts.reduce((sum, text) => sum + text.length, 0);
  if (characters <= contextTokens * MAX_TOKEN_CHARACTERS) return;
  throw tooLong(param, `has ${characters} characters`, contextTokens);
}

function checkRoom(promptTokens: number, query: ChatQuery, contextTokens: number): void {
  const param = promptParam(query);
  if (promptTokens === 0) throw badParam(param, 'is empty. Write something.');
  if (promptTokens >= contextTokens) throw tooLong(param, `has ${promptTokens} tokens`, contextTokens);
  const room = contextTokens - promptTokens;
  const { minTokens } = query.sampling;
  if (minTokens <= room) return;
  throw badParam(
    'min_tokens',
    `is ${minTokens}, and there is room for ${room} after a prompt of ${promptTokens}.`,
  );
}

function tooLong(param: string, length: string, contextTokens: number): SkeinError {
  return new SkeinError(
    'bad-argument',
    `'${param}' ${length}, and this mesh holds ${contextTokens} tokens of question and answer together. Shorten it.`,
    { data: { param, contextTokens, apiCode: 'context_length_exceeded' } },
  );
}

function checkBiases({ sampling: { logitBias } }: ChatQuery, tokenizer: Tokenizer): void {
  const unknown = logitBias.find(([id]) => tokenizer.tokenBytes(id) === null);
  if (unknown === undefined) return;
  throw badParam('logit_bias', `names token ${unknown[0]}, which the model's vocabulary lacks.`);
}

/** What is refused is the fault of this parameter, where nothing else is said. */
export function withParam<Result>(param: string, action: () => Result): Result {
  try {
    return action();
  } catch (thrown) {
    throw blaming(param, thrown);
  }
}

export function blaming(param: string, thrown: unknown): SkeinError {
  const error = SkeinError.from(thrown);
  if (error.code !== 'bad-argument' || error.data['param'] !== undefined) return error;
  return new SkeinError(error.code, error.message, { data: { ...error.data, param }, cause: error });
}

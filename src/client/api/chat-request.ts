import * as v from 'valibot';
import type { ModelId } from '../../protocol/ids.ts';
import { chatMessages } from './chat-messages.ts';
import type { AnswerShape, ChatQuery, ToolChoice, ToolDefinition } from './chat-query.ts';
import { badParam, checkBody, ignored, namedValues, optional, refused } from './request-body.ts';
import {
  choiceCount,
  extensionEntries,
  MAX_STOP_STRINGS,
  oneOf,
  openAiSamplingEntries,
  samplingOf,
  stopStrings,
  timeLimitOf,
  tokenCount,
  topLogProbabilityCount,
} from './sampling-fields.ts';
import {
  functionEntries,
  functionName,
  jsonSchemaObject,
  MAX_TOOLS,
  repeatedName,
  toolOf,
} from './tool-fields.ts';

/** A request to the chat completions endpoint. */
export interface ChatQuestion {
  readonly kind: 'chat';
  readonly model: ModelId;
  readonly query: ChatQuery;
  readonly queries: readonly [ChatQuery];
  readonly stream: boolean;
  /** Whether the last chunk of a stream is to carry the usage. */
  readonly includeUsage: boolean;
}

export const streamOptions = v.strictObject({
  include_usage: optional(v.boolean()),
  include_obfuscation: refused('Chunks are not padded. Send false, or leave it out.', false),
});

/** What OpenAI means for its own bookkeeping, or as a hint to it. Nothing here depends on it. */
export const bookkeepingEntries = {
  user: ignored(v.string()),
  metadata: ignored(namedValues(v.string())),
  store: ignored(v.boolean()),
  service_tier: ignored(v.string()),
  safety_identifier: ignored(v.string()),
  prompt_cache_key: ignored(v.string()),
  prompt_cache_options: ignored(v.looseObject({})),
  prompt_cache_retention: ignored(v.string()),
} as const;

const namedFunction = v.strictObject({
  type: v.literal('function'),
  function: v.strictObject({ name: functionName }),
});

const functionTool = v.strictObject({
  type: v.literal('function'),
  function: v.strictObject(functionEntries),
});
const noTool = v.looseObject({
  type: v.pipe(
    v.string(),
    v.check(() => false, "is not supported. Tools are of type 'function'"),
  ),
});

const toolChoice = v.lazy((input) => {
  if (typeof input !== 'object') return oneOf('none', 'auto', 'required');
  const isAllowedTools = input !== null && 'type' in input && input.type === 'allowed_tools';
  return isAllowedTools
    ? v.strictObject({
        type: v.literal('allowed_tools'),
        allowed_tools: v.strictObject({ mode: oneOf('auto', 'required'), tools: v.array(namedFunction) }),
      })
    : namedFunction;
});

const responseFormat = v.variant('type', [
  v.strictObject({ type: v.literal('text') }),
  v.strictObject({ type: v.literal('json_object') }),
  v.strictObject({
    type: v.literal('json_schema'),
    json_schema: v.strictObject({
      name: functionName,
      description: ignored(v.string()),
      schema: optional(jsonSchemaObject),
      strict: ignored(v.boolean()),
    }),
  }),
]);

const textOnly = 'Models here answer in text.';

export const chatRequestSchema = v.strictObject({
  model: v.string(),
  messages: chatMessages,
  ...openAiSamplingEntries,
  ...extensionEntries,
  ...bookkeepingEntries,
  n: optional(choiceCount),
  stop: stopStrings(MAX_STOP_STRINGS),
  max_tokens: optional(tokenCount),
  max_completion_tokens: optional(tokenCount),
  logprobs: optional(v.boolean()),
  top_logprobs: optional(topLogProbabilityCount),
  response_format: optional(responseFormat),
  tools: optional(
    v.pipe(
      v.array(
        v.lazy((tool) =>
          typeof tool === 'object' && tool !== null && 'type' in tool && tool.type !== 'function'
            ? noTool
            : functionTool,
        ),
      ),
      v.maxLength(MAX_TOOLS, `takes at most ${MAX_TOOLS} tools`),
    ),
  ),
  tool_choice: optional(toolChoice),
  parallel_tool_calls: optional(v.boolean()),
  reasoning_effort: optional(oneOf('none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max')),
  stream: optional(v.boolean()),
  stream_options: optional(streamOptions),
  verbosity: refused(
    "Say in a message how long the answer is to be, or limit 'max_completion_tokens'.",
    'medium',
  ),
  modalities: v.optional(
    v.custom<unknown>(
      (value) => value === null || (Array.isArray(value) && value.length === 1 && value[0] === 'text'),
      `takes ['text'] alone. ${textOnly}`,
    ),
  ),
  audio: refused(textOnly),
  web_search_options: refused(
    'Nothing here searches the web. Search yourself and send what you find, or use tools.',
  ),
  prediction: refused('Leave it out; the answer is the same.'),
  moderation: refused('Nothing here judges texts. Do it before you ask.'),
  functions: refused("Use 'tools'."),
  function_call: refused("Use 'tool_choice'."),
});
type ChatBody = v.InferOutput<typeof chatRequestSchema>;

/** @throws SkeinError `bad-argument` naming the parameter in `data.param`. */
export function parseChatRequest(json: unknown): ChatQuestion {
  const body = checkBody(chatRequestSchema, json);
  const tools = toolsOf(body);
  const model = body.model as ModelId;
  const query: ChatQuery = {
    model,
    prompt: { kind: 'chat', messages: body.messages },
    ...tools,
    isParallel: body.parallel_tool_calls ?? true,
    shape: shapeOf(body),
    sampling: samplingOf(body, topLogProbabilitiesOf(body)),
    scoresTokens: body.logprobs ?? false,
    maxTokens: maxTokensOf(body),
    stopStrings: body.stop ?? [],
    thinks: thinksOf(body.reasoning_effort),
    choices: body.n ?? 1,
    ...timeLimitOf(body.time_limit_seconds),
  };
  checkMinTokens(query);
  return { kind: 'chat', model, query, queries: [query], ...streamingOf(body) };
}

/** @throws SkeinError `bad-argument` for more tokens than there may be. */
export function checkMinTokens({ sampling: { minTokens }, maxTokens }: ChatQuery): void {
  if (maxTokens === null || minTokens <= maxTokens) return;
  throw badParam('min_tokens', `is ${minTokens}, and the answer may have ${maxTokens} tokens.`);
}

export function streamingOf(body: Pick<ChatBody, 'stream' | 'stream_options'>): {
  stream: boolean;
  includeUsage: boolean;
} {
  const stream = body.stream ?? false;
  if (!stream && body.stream_options !== null && body.stream_options !== undefined) {
    throw badParam('stream_options', "is for streams. Set 'stream' to true, or leave it out.");
  }
  return { stream, includeUsage: body.stream_options?.include_usage ?? false };
}

function topLogProbabilitiesOf({ logprobs, top_logprobs: count }: ChatBody): number {
  if (logprobs !== true && typeof count === 'number' && count > 0) {
    throw badParam('top_logprobs', "needs 'logprobs' to be true.");
  }
  return count ?? 0;
}

function maxTokensOf({ max_tokens: old, max_completion_tokens: current }: ChatBody): number | null {
  if (typeof old === 'number' && typeof current === 'number') {
    throw badParam('max_tokens', "and 'max_completion_tokens' are the same. Send only the latter.");
  }
  return current ?? old ?? null;
}

function shapeOf({ response_format: format }: ChatBody): AnswerShape {
  switch (format?.type) {
    case 'json_object':
      return { kind: 'json-object' };
    case 'json_schema': {
      const { schema } = format.json_schema;
      return schema ? { kind: 'json-schema', schema } : { kind: 'json-object' };
    }
    default:
      return { kind: 'text' };
  }
}

export function thinksOf(effort: string | null | undefined): boolean | null {
  if (typeof effort !== 'string') return null;
  return effort !== 'none' && effort !== 'minimal';
}

function toolsOf(body: ChatBody): { tools: readonly ToolDefinition[]; toolChoice: ToolChoice } {
  const tools = (body.tools ?? []).map((tool) =>
    toolOf((tool as v.InferOutput<typeof functionTool>).function),
  );
  const repeated = repeatedName(tools);
  if (repeated !== null) throw badParam('tools', `has two functions named '${repeated}'. Rename one.`);
  const choice = body.tool_choice ?? 'auto';
  if (choice === 'none' || choice === 'auto') return { tools, toolChoice: { kind: choice } };
  if (tools.length === 0) throw badParam('tool_choice', "needs 'tools'.");
  if (choice === 'required') return { tools, toolChoice: { kind: 'required' } };
  if (choice.type === 'allowed_tools') return allowedTools(tools, choice.allowed_tools);
  const { name } = choice.function;
  checkKnown(tools, name);
  return { tools, toolChoice: { kind: 'named', name } };
}

/** The model is shown those that it may call, and no others. */
function allowedTools(
  tools: readonly ToolDefinition[],
  allowed: { readonly mode: 'auto' | 'required'; readonly tools: readonly { function: { name: string } }[] },
): { tools: readonly ToolDefinition[]; toolChoice: ToolChoice } {
  const names = allowed.tools.map(({ function: { name } }) => name);
  for (const name of names) checkKnown(tools, name);
  if (names.length === 0) throw badParam('tool_choice', "allows no tool. Send 'none'.");
  return { tools: tools.filter(({ name }) => names.includes(name)), toolChoice: { kind: allowed.mode } };
}

function checkKnown(tools: readonly ToolDefinition[], name: string): void {
  if (tools.some((tool) => tool.name === name)) return;
  throw badParam('tool_choice', `names the function '${name}', which is not among the tools.`);
}

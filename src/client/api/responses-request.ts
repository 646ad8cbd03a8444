import * as v from 'valibot';
import type { ModelId } from '../../protocol/ids.ts';
import { byType } from './by-type.ts';
import type { AnswerShape, ChatQuery, ToolChoice } from './chat-query.ts';
import { checkMinTokens, thinksOf } from './chat-request.ts';
import { checkedTools } from './checked-tools.ts';
import { badParam, checkBody, ignored, optional, refused } from './request-body.ts';
import { conversationOf, inputSchema } from './responses-input.ts';
import {
  extensionEntries,
  oneOf,
  openAiSamplingEntries,
  samplingOf,
  timeLimitOf,
  tokenCount,
  topLogProbabilityCount,
} from './sampling-fields.ts';
import { functionEntries, functionName, jsonSchemaObject, MAX_TOOLS, toolOf } from './tool-fields.ts';

const MAX_METADATA_KEYS = 16;
const MAX_METADATA_KEY_CHARACTERS = 64;
const MAX_METADATA_VALUE_CHARACTERS = 512;
const LOGPROBS = 'message.output_text.logprobs';

const NOT_STORED = 'Nothing is stored here. Send the whole conversation in input.';

const metadata = v.pipe(
  v.record(v.string(), v.string()),
  v.check(
    (entries) => Object.keys(entries).length <= MAX_METADATA_KEYS,
    `takes at most ${MAX_METADATA_KEYS} keys`,
  ),
  v.check(
    (entries) =>
      Object.entries(entries).every(
        ([key, value]) =>
          key.length <= MAX_METADATA_KEY_CHARACTERS && value.length <= MAX_METADATA_VALUE_CHARACTERS,
      ),
    `takes keys of at most ${MAX_METADATA_KEY_CHARACTERS} characters and values of at most ${MAX_METADATA_VALUE_CHARACTERS}`,
  ),
);

const tool = byType(
  {
    function: v.strictObject({
      type: v.literal('function'),
      ...functionEntries,
      strict: optional(v.boolean()),
      allowed_callers: ignored(v.array(v.literal('direct'))),
      defer_loading: refused('Send the tools that the model is to know.', false),
      output_schema: ignored(v.record(v.string(), v.unknown())),
    }),
  },
  () => 'There are no built-in tools here. Describe a function, and call it yourself.',
);

const toolChoice = v.lazy((input) =>
  typeof input === 'string'
    ? oneOf('auto', 'none', 'required')
    : byType(
        { function: v.strictObject({ type: v.literal('function'), name: functionName }) },
        () =>
          'Send "auto", "none", "required" or {"type": "function", "name": …}, and only the tools you allow.',
      ),
);

const textFormat = byType(
  {
    text: v.strictObject({ type: v.literal('text') }),
    json_object: v.strictObject({ type: v.literal('json_object') }),
    json_schema: v.strictObject({
      type: v.literal('json_schema'),
      name: functionName,
      schema: jsonSchemaObject,
      description: optional(v.string()),
      strict: optional(v.boolean()),
    }),
  },
  () => 'Send "text", "json_object" or "json_schema".',
);

const summary = refused('What a model thought is in the content of its reasoning items, in full.', 'auto');
const reasoning = v.strictObject({
  effort: optional(oneOf('none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max')),
  summary,
  generate_summary: summary,
  mode: refused('Choose another model for more effort.', 'standard'),
  context: refused('Send the reasoning items that the model is to know in input.', 'auto', 'current_turn'),
});

/** What else there is to include is of built-in tools, images and files. */
const included = oneOf(LOGPROBS, 'reasoning.encrypted_content');

/** The body of `/v1/responses`. */
export const responsesSchema = v.strictObject({
  model: v.string(),
  input: inputSchema,
  instructions: optional(v.string()),
  tools: optional(v.pipe(v.array(tool), v.maxLength(MAX_TOOLS, `takes at most ${MAX_TOOLS} tools`))),
  tool_choice: optional(toolChoice),
  parallel_tool_calls: optional(v.boolean()),
  text: optional(
    v.strictObject({
      format: optional(textFormat),
      verbosity: refused('Ask for short or long answers in instructions.', 'medium'),
    }),
  ),
  reasoning: optional(reasoning),
  max_output_tokens: optional(tokenCount),
  top_logprobs: optional(topLogProbabilityCount),
  include: optional(v.array(included)),
  stream: optional(v.boolean()),
  stream_options: optional(
    v.strictObject({ include_obfuscation: refused('Use TLS, and read the answer whole.', false) }),
  ),
  ...openAiSamplingEntries,
  ...extensionEntries,

  metadata: optional(metadata),
  user: optional(v.string()),
  safety_identifier: optional(v.string()),
  prompt_cache_key: optional(v.string()),
  prompt_cache_options: ignored(v.record(v.string(), v.unknown())),
  prompt_cache_retention: ignored(v.string()),
  service_tier: ignored(oneOf('auto', 'default', 'flex', 'scale', 'priority')),
  max_tool_calls: ignored(v.number()),

  store: refused('Nothing is stored here. Leave it out, or send false.', false),
  previous_response_id: refused(NOT_STORED),
  conversation: refused(NOT_STORED),
  background: refused('Keep the connection open, with stream.', false),
  prompt: refused('Send the text itself in instructions and input.'),
  truncation: refused('Leave out the oldest items yourself.', 'disabled'),
  context_management: refused('Leave out the oldest items yourself.'),
  moderation: refused('Have the text judged before and after.'),
});
type ResponsesBody = v.InferOutput<typeof responsesSchema>;

/** A question by `/v1/responses`. */
export interface ResponsesQuestion {
  readonly model: ModelId;
  readonly query: ChatQuery;
  readonly stream: boolean;
  /** Parameters that the response repeats, as it has them. */
  readonly echo: Readonly<Record<string, unknown>>;
}

/** @throws SkeinError `bad-argument`; `data.param` names the parameter. */
export function parseResponsesRequest(json: unknown): ResponsesQuestion {
  const body = checkBody(responsesSchema, json);
  const stream = body.stream ?? false;
  if (body.stream_options != null && !stream) {
    throw badParam('stream_options', 'is for streams only. Leave it out, or send stream: true.');
  }
  const model = body.model as ModelId;
  const query: ChatQuery = {
    model,
    prompt: { kind: 'chat', messages: conversationOf(body.instructions, body.input) },
    ...checkedTools((body.tools ?? []).map(toolOf), toolChoiceOf(body.tool_choice)),
    isParallel: body.parallel_tool_calls ?? true,
    shape: shapeOf(body.text?.format),
    sampling: samplingOf(body, body.top_logprobs ?? 0),
    scoresTokens: body.top_logprobs != null || (body.include ?? []).includes(LOGPROBS),
    maxTokens: body.max_output_tokens ?? null,
    stopStrings: [],
    thinks: thinksOf(body.reasoning?.effort),
    choices: 1,
    paramNames: { prompt: 'input', shape: 'text.format' },
    ...timeLimitOf(body.time_limit_seconds),
  };
  checkMinTokens(query);
  return { model, query, stream, echo: echoOf(body) };
}

function toolChoiceOf(choice: ResponsesBody['tool_choice']): ToolChoice {
  if (choice === null || choice === undefined) return { kind: 'auto' };
  return typeof choice === 'string' ? { kind: choice } : { kind: 'named', name: choice.name };
}

function shapeOf(format: v.InferOutput<typeof textFormat> | null | undefined): AnswerShape {
  switch (format?.type) {
    case 'json_object':
      return { kind: 'json-object' };
    case 'json_schema':
      return { kind: 'json-schema', schema: format.schema };
    default:
      return { kind: 'text' };
  }
}

function echoOf(body: ResponsesBody): ResponsesQuestion['echo'] {
  return {
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    prompt_cache_key: body.prompt_cache_key ?? null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
    safety_identifier: body.safety_identifier ?? null,
    temperature: body.temperature ?? 1,
    text: { format: body.text?.format ?? { type: 'text' }, verbosity: 'medium' },
    tool_choice: body.tool_choice ?? 'auto',
    tools: (body.tools ?? []).map(({ type, name, description, parameters, strict }) => ({
      type,
      name,
      description: description ?? null,
      parameters: parameters ?? null,
      strict: strict ?? true,
    })),
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? 1,
    user: body.user ?? null,
  };
}

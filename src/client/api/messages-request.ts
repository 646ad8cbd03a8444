import * as v from 'valibot';
import type { ModelId } from '../../protocol/ids.ts';
import { byType } from './by-type.ts';
import type { ChatQuery, ToolChoice } from './chat-query.ts';
import { checkMinTokens } from './chat-request.ts';
import { checkedTools } from './checked-tools.ts';
import { cacheControl, conversationOf, messagesSchema, systemSchema } from './messages-input.ts';
import { badParam, checkBody, ignored, optional, refused } from './request-body.ts';
import {
  extensionEntries,
  numberBetween,
  oneOf,
  samplingOf,
  seed,
  stopStrings,
  timeLimitOf,
  tokenCount,
  topP,
} from './sampling-fields.ts';
import { functionName, jsonSchemaObject, MAX_TOOLS, toolOf } from './tool-fields.ts';

/** More than OpenAI's API takes: the standard names no number. */
const MAX_STOP_SEQUENCES = 16;
const LEAST_BUDGET = 1024;

/** A tool is custom, also where it does not say so. */
const tool = byType(
  {
    custom: v.strictObject({
      type: optional(v.literal('custom')),
      name: functionName,
      description: optional(v.string()),
      input_schema: jsonSchemaObject,
      strict: ignored(v.boolean()),
      cache_control: cacheControl,
      eager_input_streaming: ignored(v.boolean()),
      allowed_callers: ignored(v.array(v.literal('direct'))),
      defer_loading: refused('Send the tools that the model is to know.', false),
      input_examples: refused('Put examples into the description.'),
    }),
  },
  () => 'There are no built-in tools here. Describe a tool, and run it yourself.',
  'custom',
);

const isSerial = { disable_parallel_tool_use: optional(v.boolean()) };
const toolChoice = byType(
  {
    auto: v.strictObject({ type: v.literal('auto'), ...isSerial }),
    any: v.strictObject({ type: v.literal('any'), ...isSerial }),
    tool: v.strictObject({ type: v.literal('tool'), name: functionName, ...isSerial }),
    none: v.strictObject({ type: v.literal('none') }),
  },
  () => 'Send "auto", "any", "tool" or "none".',
);

const display = optional(oneOf('summarized', 'omitted'));
const thinking = byType(
  {
    enabled: v.strictObject({
      type: v.literal('enabled'),
      budget_tokens: v.pipe(
        v.number(),
        v.check(
          (budget) => Number.isInteger(budget) && budget >= LEAST_BUDGET,
          `must be a whole number from ${LEAST_BUDGET}`,
        ),
      ),
      display,
    }),
    adaptive: v.strictObject({ type: v.literal('adaptive'), display }),
    disabled: v.strictObject({ type: v.literal('disabled') }),
  },
  () => 'Send "enabled", "adaptive" or "disabled".',
);

const outputConfig = v.strictObject({
  format: optional(v.strictObject({ type: v.literal('json_schema'), schema: jsonSchemaObject })),
  effort: ignored(oneOf('low', 'medium', 'high', 'xhigh', 'max')),
});

/** What counting tokens takes as well. */
const promptEntries = {
  model: v.string(),
  messages: messagesSchema,
  system: optional(systemSchema),
  tools: optional(v.pipe(v.array(tool), v.maxLength(MAX_TOOLS, `takes at most ${MAX_TOOLS} tools`))),
  tool_choice: optional(toolChoice),
  thinking: optional(thinking),
  output_config: optional(outputConfig),
  cache_control: cacheControl,
  speed: refused('Peers compute as fast as they can.', 'standard'),
} as const;

/** The body of `/v1/messages`. */
export const messagesBodySchema = v.strictObject({
  ...promptEntries,
  max_tokens: tokenCount,
  stop_sequences: stopStrings(MAX_STOP_SEQUENCES),
  temperature: optional(numberBetween(0, 1)),
  top_p: optional(topP),
  stream: optional(v.boolean()),
  seed: optional(seed),
  ...extensionEntries,

  metadata: ignored(v.strictObject({ user_id: optional(v.string()) })),
  service_tier: ignored(oneOf('auto', 'standard_only')),

  inference_geo: refused('Peers may be anywhere. Run a private mesh where it matters.'),
  container: refused('No code is run here.'),
  context_management: refused('Leave out the oldest messages yourself.'),
  diagnostics: refused('Look at usage.cache_read_input_tokens.'),
  mcp_servers: refused('Describe their tools in tools, and call the server yourself.'),
});

/** The body of `/v1/messages/count_tokens`. */
export const countTokensSchema = v.strictObject(promptEntries);

/** A question by `/v1/messages`. */
export interface MessagesQuestion {
  readonly model: ModelId;
  readonly query: ChatQuery;
  readonly stream: boolean;
  /** Whether blocks of thinking say what was thought. */
  readonly showsThinking: boolean;
}

/** @throws SkeinError `bad-argument`; `data.param` names the parameter. */
export function parseMessagesRequest(json: unknown): MessagesQuestion {
  const body = checkBody(messagesBodySchema, json);
  const { thinking: thoughts, max_tokens: maxTokens } = body;
  if (thoughts?.type === 'enabled' && thoughts.budget_tokens >= maxTokens) {
    throw badParam(
      'thinking.budget_tokens',
      `is ${thoughts.budget_tokens} and max_tokens ${maxTokens}, which both count thinking. Ask for more tokens.`,
    );
  }
  const query: ChatQuery = {
    ...promptOf(body),
    sampling: samplingOf(body, 0),
    maxTokens,
    stopStrings: body.stop_sequences ?? [],
    ...timeLimitOf(body.time_limit_seconds),
  };
  checkMinTokens(query);
  const isHidden = thoughts != null && 'display' in thoughts && thoughts.display === 'omitted';
  return { model: query.model, query, stream: body.stream ?? false, showsThinking: !isHidden };
}

/** @returns a question that is only to be counted. @throws SkeinError `bad-argument`; `data.param` names the parameter. */
export function parseCountTokens(json: unknown): ChatQuery {
  const body = checkBody(countTokensSchema, json);
  return { ...promptOf(body), sampling: samplingOf({ seed: 0 }, 0), maxTokens: null, stopStrings: [] };
}

/** What the prompt is made of, and what the answer has to be. */
function promptOf(
  body: v.InferOutput<typeof countTokensSchema>,
): Omit<ChatQuery, 'sampling' | 'maxTokens' | 'stopStrings'> {
  const tools = (body.tools ?? []).map(({ input_schema: parameters, name, description }) =>
    toolOf({ name, description, parameters }),
  );
  const choice = body.tool_choice;
  const schema = body.output_config?.format?.schema;
  return {
    model: body.model as ModelId,
    prompt: { kind: 'chat', messages: conversationOf(body.system, body.messages) },
    ...checkedTools(tools, toolChoiceOf(choice)),
    isParallel: !(choice && 'disable_parallel_tool_use' in choice && choice.disable_parallel_tool_use),
    shape: schema === undefined ? { kind: 'text' } : { kind: 'json-schema', schema },
    // As the standard has it: nobody thinks unasked.
    thinks: body.thinking?.type === 'enabled' || body.thinking?.type === 'adaptive',
    choices: 1,
    paramNames: { prompt: 'messages', shape: 'output_config.format' },
  };
}

function toolChoiceOf(choice: v.InferOutput<typeof toolChoice> | null | undefined): ToolChoice {
  switch (choice?.type) {
    case undefined:
    case 'auto':
      return { kind: 'auto' };
    case 'any':
      return { kind: 'required' };
    case 'tool':
      return { kind: 'named', name: choice.name };
    case 'none':
      return { kind: 'none' };
  }
}

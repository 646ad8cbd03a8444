import * as v from 'valibot';
import { jsonDepth } from '../../protocol/json-depth.ts';
import type { ChatMessage, ToolCall } from '../../tokenizer/tokenizer.ts';
import { describeValue } from './describe-value.ts';
import { ignored, optional, refused } from './request-body.ts';
import { functionName, MAX_SCHEMA_DEPTH } from './tool-fields.ts';

/** Turns of one conversation. */
const MAX_MESSAGES = 4096;
/** Calls in one turn. */
const MAX_CALLS = 128;

const partCacheHint = { prompt_cache_breakpoint: ignored(v.looseObject({})) };
const textPart = v.strictObject({ type: v.literal('text'), text: v.string(), ...partCacheHint });
const refusalPart = v.strictObject({ type: v.literal('refusal'), refusal: v.string() });

type PartSchema = v.GenericSchema<unknown, { readonly text?: string; readonly refusal?: string }>;

/** A part that a model of text cannot take: its type is refused. @param why continues after it. */
function noPart(why: string): PartSchema {
  const type = v.pipe(
    v.string(),
    v.check(
      () => false,
      ({ input }) => `is ${describeValue(input)}, which is not supported. ${why}`,
    ),
  );
  return v.pipe(
    v.looseObject({ type }),
    v.transform(() => ({})),
  );
}

const otherPart = noPart("Parts are of type 'text'");

function userPart(type: unknown): PartSchema {
  switch (type) {
    case 'text':
      return textPart;
    case 'image_url':
      return noPart('Models here see nothing. Describe the picture in words');
    case 'input_audio':
      return noPart('Models here hear nothing. Send what is said as text');
    case 'file':
      return noPart("Files are not read here. Send the file's text");
    default:
      return otherPart;
  }
}
const plainPart = (type: unknown): PartSchema => (type === 'text' ? textPart : otherPart);
const assistantPart = (type: unknown): PartSchema => (type === 'refusal' ? refusalPart : plainPart(type));

/** A text, or its parts, which are one text. */
function content(partFor: (type: unknown) => PartSchema) {
  const parts = v.pipe(
    v.array(v.lazy((part) => partFor(typeOf(part)))),
    v.transform((read) => read.map(({ text, refusal }) => text ?? refusal ?? '').join('')),
  );
  return v.lazy((input): v.GenericSchema<unknown, string> => (Array.isArray(input) ? parts : v.string()));
}

const name = optional(v.string());

const toolCall = v.pipe(
  v.strictObject({
    id: v.string(),
    type: v.literal('function'),
    function: v.strictObject({ name: functionName, arguments: v.string() }),
  }),
  v.transform(({ id, type, function: { name: tool, arguments: json } }): ToolCall => ({
    id,
    type,
    function: { name: tool, arguments: argumentsOf(json) },
  })),
);

const plainMessage = <Role extends string>(role: Role) =>
  v.strictObject({ role: v.literal(role), content: content(plainPart), name });

const messageSchema = v.variant('role', [
  plainMessage('system'),
  plainMessage('developer'),
  v.strictObject({ role: v.literal('user'), content: content(userPart), name }),
  v.pipe(
    v.strictObject({
      role: v.literal('assistant'),
      content: v.nullish(content(assistantPart)),
      reasoning_content: optional(v.string()),
      refusal: optional(v.string()),
      name,
      tool_calls: optional(
        v.pipe(v.array(toolCall), v.maxLength(MAX_CALLS, `takes at most ${MAX_CALLS} calls`)),
      ),
      audio: refused('Models here know no audio. Send what was said as content.'),
      function_call: refused("Send it as one of 'tool_calls'."),
      annotations: ignored(v.array(v.unknown())),
    }),
    v.forward(
      v.check(
        ({ content: text, refusal, tool_calls }) =>
          typeof text === 'string' || typeof refusal === 'string' || (tool_calls?.length ?? 0) > 0,
        "is missing, and there are no 'tool_calls' either",
      ),
      ['content'],
    ),
  ),
  v.strictObject({ role: v.literal('tool'), content: content(plainPart), tool_call_id: v.string(), name }),
]);

/** The messages of OpenAI's chat completions, as chat templates take them. */
export const chatMessages = v.pipe(
  v.array(messageSchema),
  v.minLength(1, 'is empty. Send at least one message'),
  v.maxLength(MAX_MESSAGES, `takes at most ${MAX_MESSAGES} messages`),
  v.transform((messages) => messages.map(turnOf)),
);

function turnOf(message: v.InferOutput<typeof messageSchema>): ChatMessage {
  const named = typeof message.name === 'string' ? { name: message.name } : {};
  switch (message.role) {
    case 'developer':
    case 'system':
      return { role: 'system', content: message.content, ...named };
    case 'user':
      return { role: 'user', content: message.content, ...named };
    case 'tool':
      return { role: 'tool', content: message.content, tool_call_id: message.tool_call_id, ...named };
    case 'assistant': {
      const { content: text, refusal, reasoning_content: reasoning, tool_calls: calls } = message;
      return {
        role: 'assistant',
        content: text ?? refusal ?? '',
        ...(typeof reasoning === 'string' && { reasoning_content: reasoning }),
        ...(calls !== null && calls !== undefined && calls.length > 0 && { tool_calls: calls }),
        ...named,
      };
    }
  }
}

/** Templates write an object as JSON, and some would write a text of JSON as a text. What is no object stays as the model gave it. */
export function argumentsOf(json: string): string | Readonly<Record<string, unknown>> {
  if (jsonDepth(json) > MAX_SCHEMA_DEPTH) return json;
  try {
    const value = JSON.parse(json) as unknown;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return json;
    return value as Readonly<Record<string, unknown>>;
  } catch {
    return json;
  }
}

function typeOf(part: unknown): unknown {
  return typeof part === 'object' && part !== null && 'type' in part ? part.type : undefined;
}

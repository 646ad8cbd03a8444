import * as v from 'valibot';
import type { ChatMessage } from '../../tokenizer/tokenizer.ts';
import { argumentsOf } from './chat-messages.ts';
import { byType, textOr } from './by-type.ts';
import { Conversation, MAX_PIECES } from './conversation.ts';
import { badParam, ignored, optional, refused } from './request-body.ts';

/** Fields of items that came from a response and are sent back; they change nothing. */
const repeated = {
  id: ignored(v.string()),
  status: ignored(v.string()),
};
/** Functions are called by nobody but the caller of the API. */
const caller = ignored(v.strictObject({ type: v.literal('direct') }));

const ONLY_TEXT = 'Models here read text. Send a part of type "input_text".';
const cacheBreakpoint = ignored(v.strictObject({ mode: v.literal('explicit') }));
const inputText = v.pipe(
  v.strictObject({
    type: v.literal('input_text'),
    text: v.string(),
    prompt_cache_breakpoint: cacheBreakpoint,
  }),
  v.transform(({ text }) => text),
);
const outputText = v.pipe(
  v.strictObject({
    type: v.literal('output_text'),
    text: v.string(),
    annotations: ignored(v.array(v.unknown())),
    logprobs: ignored(v.array(v.unknown())),
  }),
  v.transform(({ text }) => text),
);
const refusal = v.pipe(
  v.strictObject({ type: v.literal('refusal'), refusal: v.string() }),
  v.transform((part) => part.refusal),
);

const givenText = textOr(byType({ input_text: inputText }, () => ONLY_TEXT));
const anyText = textOr(byType({ input_text: inputText, output_text: outputText, refusal }, () => ONLY_TEXT));

const message = v.strictObject({
  ...repeated,
  type: v.optional(v.literal('message'), 'message'),
  role: v.picklist(['user', 'assistant', 'system', 'developer']),
  content: anyText,
  phase: ignored(v.picklist(['commentary', 'final_answer'])),
});
const call = v.strictObject({
  ...repeated,
  type: v.literal('function_call'),
  call_id: v.string(),
  name: v.string(),
  arguments: v.string(),
  caller,
  namespace: refused('Name the function without one.'),
});
const callOutput = v.strictObject({
  ...repeated,
  type: v.literal('function_call_output'),
  call_id: v.string(),
  output: givenText,
  caller,
});
const reasoning = v.strictObject({
  ...repeated,
  type: v.literal('reasoning'),
  summary: ignored(v.array(v.unknown())),
  content: optional(v.array(v.strictObject({ type: v.literal('reasoning_text'), text: v.string() }))),
  // Another service's thoughts, which nobody here can read.
  encrypted_content: ignored(v.string()),
});

const item = byType(
  { message, function_call: call, function_call_output: callOutput, reasoning },
  (type) =>
    type === 'item_reference'
      ? 'Nothing is stored here. Send the item itself.'
      : 'Send messages, function_call, function_call_output and reasoning items.',
  'message',
);

type InputItem = v.InferOutput<typeof item>;
const items = v.pipe(
  v.array(item),
  v.minLength(1, 'is empty. Send a message.'),
  v.maxLength(MAX_PIECES, `takes at most ${MAX_PIECES} items`),
);

/** `input` of a request. */
export const inputSchema: v.GenericSchema<unknown, string | readonly InputItem[]> = v.lazy((input) =>
  Array.isArray(input) ? items : v.union([v.string(), v.array(v.never())]),
);

/**
 * The conversation of a request, as chat templates take it.
 * @throws SkeinError `bad-argument` for the output of a call that was not made.
 */
export function conversationOf(
  instructions: string | null | undefined,
  input: string | readonly InputItem[],
): readonly ChatMessage[] {
  const conversation = new Conversation(false);
  if (instructions) conversation.system(instructions);
  if (typeof input === 'string') conversation.user(input);
  else for (const [index, piece] of input.entries()) add(conversation, piece, `input[${index}]`);
  return conversation.messages;
}

function add(conversation: Conversation, piece: InputItem, param: string): void {
  switch (piece.type) {
    case 'message':
      if (piece.role === 'user') conversation.user(piece.content);
      else if (piece.role === 'assistant') conversation.say(piece.content);
      else conversation.system(piece.content);
      return;
    case 'reasoning':
      conversation.think((piece.content ?? []).map(({ text }) => text).join(''));
      return;
    case 'function_call':
      conversation.call({ id: piece.call_id, name: piece.name, arguments: argumentsOf(piece.arguments) });
      return;
    case 'function_call_output':
      if (!conversation.hasCall(piece.call_id)) {
        throw badParam(`${param}.call_id`, 'names no function_call that comes before it. Send that as well.');
      }
      conversation.result(piece.call_id, piece.output);
  }
}

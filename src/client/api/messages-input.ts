import * as v from 'valibot';
import type { ChatMessage } from '../../tokenizer/tokenizer.ts';
import { byType, textOr } from './by-type.ts';
import { BLOCK_SEPARATOR, Conversation, MAX_PIECES } from './conversation.ts';
import { badParam, ignored, optional } from './request-body.ts';

/** Prefixes are cached by what they are, wherever they end. */
export const cacheControl = ignored(
  v.strictObject({ type: v.literal('ephemeral'), ttl: optional(v.picklist(['5m', '1h'])) }),
);
/** Calls are made by nobody but the caller. */
const caller = ignored(v.strictObject({ type: v.literal('direct') }));

const ONLY_TEXT = 'Models here read text. Send a block of type "text".';

const text = v.strictObject({
  type: v.literal('text'),
  text: v.string(),
  cache_control: cacheControl,
  citations: ignored(v.array(v.unknown())),
});
const justText = byType(
  {
    text: v.pipe(
      text,
      v.transform((block) => block.text),
    ),
  },
  () => ONLY_TEXT,
);
const toolUse = v.strictObject({
  type: v.literal('tool_use'),
  id: v.string(),
  name: v.string(),
  input: v.record(v.string(), v.unknown()),
  cache_control: cacheControl,
  caller,
});
const toolResult = v.strictObject({
  type: v.literal('tool_result'),
  tool_use_id: v.string(),
  content: v.optional(textOr(justText, BLOCK_SEPARATOR), ''),
  is_error: optional(v.boolean()),
  cache_control: cacheControl,
});
const thinking = v.strictObject({
  type: v.literal('thinking'),
  thinking: v.string(),
  signature: ignored(v.string()),
});
/** Another service's thoughts, which nobody here can read. */
const redactedThinking = v.strictObject({ type: v.literal('redacted_thinking'), data: v.string() });

const userBlock = byType({ text, tool_result: toolResult }, () => ONLY_TEXT);
const assistantBlock = byType(
  { text, tool_use: toolUse, thinking, redacted_thinking: redactedThinking },
  () => 'An assistant has blocks of text, thinking and tool_use.',
);

/** A text is one block of it. */
function blocksOf<Block>(block: v.GenericSchema<unknown, Block>) {
  const blocks = v.pipe(v.array(block), v.maxLength(MAX_PIECES, `takes at most ${MAX_PIECES} blocks`));
  return v.lazy((input) => (typeof input === 'string' ? v.string() : blocks)) as v.GenericSchema<
    unknown,
    string | Block[]
  >;
}

const MESSAGES = {
  user: v.strictObject({ role: v.literal('user'), content: blocksOf(userBlock) }),
  assistant: v.strictObject({ role: v.literal('assistant'), content: blocksOf(assistantBlock) }),
  system: v.strictObject({ role: v.literal('system'), content: textOr(justText, BLOCK_SEPARATOR) }),
};
const message = v.variant('role', [MESSAGES.user, MESSAGES.assistant, MESSAGES.system]);
type Message = v.InferOutput<typeof message>;

/** `system` of a request. */
export const systemSchema = textOr(justText, BLOCK_SEPARATOR);
/** `messages` of a request. */
export const messagesSchema = v.pipe(
  v.array(message),
  v.minLength(1, 'is empty. Send a message.'),
  v.maxLength(MAX_PIECES, `takes at most ${MAX_PIECES} messages`),
);

/**
 * The conversation of a request, as chat templates take it.
 * @throws SkeinError `bad-argument` for the result of a call that was not made, or a last word of the assistant's.
 */
export function conversationOf(
  system: string | null | undefined,
  messages: readonly Message[],
): readonly ChatMessage[] {
  const conversation = new Conversation(true);
  if (system) conversation.system(system);
  for (const [index, { role, content }] of messages.entries()) {
    const param = `messages[${index}].content`;
    if (role === 'system') conversation.system(content);
    else if (typeof content === 'string') {
      if (role === 'user') conversation.user(content);
      else conversation.say(content);
    } else for (const [at, block] of content.entries()) add(conversation, role, block, `${param}[${at}]`);
  }
  if (messages.at(-1)?.role === 'assistant') {
    throw badParam(
      `messages[${messages.length - 1}]`,
      "is the assistant's, and answers cannot be begun for a model here. End with a message of the user.",
    );
  }
  return conversation.messages;
}

type Block = v.InferOutput<typeof userBlock> | v.InferOutput<typeof assistantBlock>;

function add(conversation: Conversation, role: 'user' | 'assistant', block: Block, param: string): void {
  switch (block.type) {
    case 'text':
      if (role === 'user') conversation.user(block.text);
      else conversation.say(block.text);
      return;
    case 'thinking':
      conversation.think(block.thinking);
      return;
    case 'redacted_thinking':
      return;
    case 'tool_use':
      conversation.call({ id: block.id, name: block.name, arguments: block.input });
      return;
    case 'tool_result':
      if (!conversation.hasCall(block.tool_use_id)) {
        throw badParam(`${param}.tool_use_id`, 'names no tool_use that comes before it. Send that as well.');
      }
      // Templates have no other place for it.
      conversation.result(block.tool_use_id, block.is_error ? `Error: ${block.content}` : block.content);
  }
}

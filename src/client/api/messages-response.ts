import type { AnswerEvent, Usage } from './answer-events.ts';
import type { AnswerHead } from './answer-head.ts';
import { MessageBlocks } from './messages-blocks.ts';
import type { ContentBlock, MessageEvent } from './messages-blocks.ts';
import { messagesProblem } from './messages-problem.ts';
import type { MessagesQuestion } from './messages-request.ts';
import { unfinished } from './unfinished.ts';

type End = Extract<AnswerEvent, { type: 'end' }>;

/** A message as the API has it. */
export type MessageObject = Readonly<Record<string, unknown>> & {
  readonly type: 'message';
  readonly content: readonly ContentBlock[];
};

/**
 * The stream of a message: `message_start` with the first piece of the answer, its blocks, `message_delta` with why it stopped,
 * `message_stop`; or an `error`.
 * @throws what the answer throws: before anything is said, or after the `error`.
 */
export async function* messageEvents(
  question: MessagesQuestion,
  answer: AsyncIterable<AnswerEvent>,
  head: AnswerHead,
): AsyncGenerator<MessageEvent, void, void> {
  const blocks = blocksOf(question, head);
  let promptTokens = 0;
  let hasBegun = false;
  let end: End | null = null;
  try {
    for await (const event of answer) {
      if (event.type === 'progress') continue;
      if (event.type === 'prompt') {
        promptTokens = event.tokens;
        continue;
      }
      if (!hasBegun) {
        hasBegun = true;
        yield { type: 'message_start', message: begunMessage(question, head, promptTokens) };
        yield { type: 'ping' };
      }
      switch (event.type) {
        case 'end':
          end = event;
          break;
        case 'done': {
          yield* blocks.end();
          const delta = { container: null, ...endingOf(question, end) };
          yield { type: 'message_delta', delta, usage: usageOf(event.usage) };
          yield { type: 'message_stop' };
          return;
        }
        default:
          yield* blocks.write(event);
      }
    }
    throw unfinished();
  } catch (thrown) {
    if (hasBegun) yield { ...messagesProblem(thrown).body };
    throw thrown;
  }
}

/** The whole message. @throws what the answer throws. */
export async function wholeMessage(
  question: MessagesQuestion,
  answer: AsyncIterable<AnswerEvent>,
  head: AnswerHead,
): Promise<MessageObject> {
  const blocks = blocksOf(question, head);
  let end: End | null = null;
  for await (const event of answer) {
    switch (event.type) {
      case 'prompt':
      case 'progress':
        break;
      case 'end':
        end = event;
        break;
      case 'done': {
        blocks.end();
        return {
          ...begunMessage(question, head, 0),
          content: blocks.content,
          ...endingOf(question, end),
          usage: wholeUsage(event.usage),
        };
      }
      default:
        blocks.write(event);
    }
  }
  throw unfinished();
}

function blocksOf({ showsThinking }: MessagesQuestion, { id }: AnswerHead): MessageBlocks {
  return new MessageBlocks({ signature: id, showsThinking });
}

/** Before anything was answered. How much of the prompt was in caches is not known yet. */
function begunMessage({ query }: MessagesQuestion, { id }: AnswerHead, promptTokens: number): MessageObject {
  const usage = { promptTokens, cachedTokens: 0, completionTokens: 0, reasoningTokens: 0 };
  return {
    id: `msg_${id}`,
    type: 'message',
    role: 'assistant',
    model: query.model,
    content: [],
    container: null,
    diagnostics: null,
    stop_reason: null,
    stop_sequence: null,
    stop_details: null,
    usage: wholeUsage(usage),
  };
}

function endingOf({ query }: MessagesQuestion, end: End | null): object {
  if (end === null) throw unfinished();
  return {
    stop_reason: stopReason(end, query.maxTokens),
    stop_sequence: end.stopString,
    stop_details: null,
  };
}

function stopReason({ end, stopString, result }: End, maxTokens: number | null): string {
  switch (end) {
    case 'tool-calls':
      return 'tool_use';
    case 'stop':
      return stopString === null ? 'end_turn' : 'stop_sequence';
    case 'length':
      // The mesh holds a conversation of so many tokens, and the answer was cut to what is left.
      return result.tokenIds.length < (maxTokens ?? 0) ? 'model_context_window_exceeded' : 'max_tokens';
  }
}

/** Tokens that were in caches are not among `input_tokens` here. */
function usageOf({ promptTokens, cachedTokens, completionTokens, reasoningTokens }: Usage): object {
  return {
    input_tokens: promptTokens - cachedTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
    output_tokens: completionTokens,
    output_tokens_details: { thinking_tokens: reasoningTokens },
    server_tool_use: null,
  };
}

function wholeUsage(usage: Usage): object {
  const always = { cache_creation: null, inference_geo: null, service_tier: 'standard', speed: 'standard' };
  return { ...usageOf(usage), ...always };
}

import { newAnswerHead } from '../../src/client/api/answer-head.ts';
import { chatChunks, chatCompletion } from '../../src/client/api/chat-response.ts';
import { parseChatRequest } from '../../src/client/api/chat-request.ts';
import { completion, completionChunks } from '../../src/client/api/completion-response.ts';
import { parseCompletionRequest } from '../../src/client/api/completion-request.ts';
import { noEmbeddings, parseEmbeddingsRequest } from '../../src/client/api/embeddings-request.ts';
import { countTokens } from '../../src/client/api/messages-count.ts';
import { messageEvents, wholeMessage } from '../../src/client/api/messages-response.ts';
import { parseCountTokens, parseMessagesRequest } from '../../src/client/api/messages-request.ts';
import { responseEvents, wholeResponse } from '../../src/client/api/responses-response.ts';
import { parseResponsesRequest } from '../../src/client/api/responses-request.ts';
import { ANTHROPIC, OPENAI, OPENAI_RESPONSES } from './dialect.ts';
import type { Endpoint } from './endpoint.ts';
import type { ServerSentEvent } from './event-stream.ts';

/** Every way of asking. */
export const ENDPOINTS: readonly Endpoint[] = [
  {
    kind: 'question',
    path: '/v1/chat/completions',
    name: 'chat.completions',
    dialect: OPENAI,
    ask(json) {
      const question = parseChatRequest(json);
      return {
        model: question.model,
        isStream: question.stream,
        queries: question.queries,
        whole: (events, { card }) => chatCompletion(question, events, card),
        stream: (events, { card }) => unnamed(chatChunks(question, events, card)),
      };
    },
  },
  {
    kind: 'question',
    path: '/v1/completions',
    name: 'completions',
    dialect: OPENAI,
    ask(json) {
      const question = parseCompletionRequest(json);
      return {
        model: question.model,
        isStream: question.stream,
        queries: question.queries,
        whole: (events, { card }) => completion(question, events, card),
        stream: (events, { card }) => unnamed(completionChunks(question, events, card)),
      };
    },
  },
  {
    kind: 'question',
    path: '/v1/responses',
    name: 'responses',
    dialect: OPENAI_RESPONSES,
    ask(json) {
      const question = parseResponsesRequest(json);
      return {
        model: question.model,
        isStream: question.stream,
        queries: [question.query],
        whole: (events) => wholeResponse(question, events, newAnswerHead()),
        stream: (events) => named(responseEvents(question, events, newAnswerHead())),
      };
    },
  },
  {
    kind: 'question',
    path: '/v1/messages',
    name: 'messages',
    dialect: ANTHROPIC,
    ask(json) {
      const question = parseMessagesRequest(json);
      return {
        model: question.model,
        isStream: question.stream,
        queries: [question.query],
        whole: (events) => wholeMessage(question, events, newAnswerHead()),
        stream: (events) => named(messageEvents(question, events, newAnswerHead())),
      };
    },
  },
  {
    kind: 'plain',
    path: '/v1/messages/count_tokens',
    name: 'messages.count_tokens',
    dialect: ANTHROPIC,
    async respond(json, models, { signal, onModel }) {
      const query = parseCountTokens(json);
      const model = await models.open(query.model, signal);
      onModel(model.card.id);
      return countTokens(query, model);
    },
  },
  {
    kind: 'plain',
    path: '/v1/embeddings',
    name: 'embeddings',
    dialect: OPENAI,
    async respond(json, models, { signal, onModel }) {
      const { card } = await models.open(parseEmbeddingsRequest(json).model, signal);
      onModel(card.id);
      throw noEmbeddings(card);
    },
  },
];

/** OpenAI's older APIs: chunks, and a last word. */
async function* unnamed(chunks: AsyncIterable<object>): AsyncGenerator<ServerSentEvent, void, void> {
  for await (const chunk of chunks) yield { data: JSON.stringify(chunk) };
  yield { data: '[DONE]' };
}

/** Each event says its type twice. */
async function* named(
  events: AsyncIterable<{ readonly type: string }>,
): AsyncGenerator<ServerSentEvent, void, void> {
  for await (const event of events) yield { event: event.type, data: JSON.stringify(event) };
}

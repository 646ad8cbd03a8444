import { chatChunks, chatCompletion } from '../api/chat-response.ts';
import { parseChatRequest } from '../api/chat-request.ts';
import type { ChatQuestion } from '../api/chat-request.ts';
import { completion, completionChunks } from '../api/completion-response.ts';
import { parseCompletionRequest } from '../api/completion-request.ts';
import type { CompletionQuestion } from '../api/completion-request.ts';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  Completion,
  CompletionChunk,
} from '../api/openai-objects.ts';
import type { AnswerApi, Answers, Question } from './answers.ts';
import type { RequestOptions } from './requests.ts';
import type { AnswerStream, ChatCompletions, Completions, TextCompletions } from './types.ts';

const CHAT: AnswerApi<ChatQuestion, ChatCompletion, ChatCompletionChunk> = {
  parse: parseChatRequest,
  idPrefix: 'chatcmpl-',
  whole: chatCompletion,
  chunks: chatChunks,
};

const TEXT: AnswerApi<CompletionQuestion, Completion, CompletionChunk> = {
  parse: parseCompletionRequest,
  idPrefix: 'cmpl-',
  whole: completion,
  chunks: completionChunks,
};

class Asking<Request, Asked extends Question, Whole, Chunk> implements Completions<Request, Whole, Chunk> {
  readonly #answers: Answers;
  readonly #api: AnswerApi<Asked, Whole, Chunk>;

  constructor(answers: Answers, api: AnswerApi<Asked, Whole, Chunk>) {
    this.#answers = answers;
    this.#api = api;
  }

  create(
    request: Request & { readonly stream?: false | null | undefined },
    options?: RequestOptions,
  ): Promise<Whole>;
  create(
    request: Request & { readonly stream: true },
    options?: RequestOptions,
  ): Promise<AnswerStream<Chunk>>;
  create(request: Request, options?: RequestOptions): Promise<Whole | AnswerStream<Chunk>>;
  create(request: Request, options?: RequestOptions): Promise<Whole | AnswerStream<Chunk>> {
    return this.#answers.create(this.#api, request, options);
  }
}

export function chatCompletions(answers: Answers): ChatCompletions {
  return new Asking(answers, CHAT);
}

export function textCompletions(answers: Answers): TextCompletions {
  return new Asking(answers, TEXT);
}

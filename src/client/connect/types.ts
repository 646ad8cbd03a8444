import type {
  ChatCompletion,
  ChatCompletionChunk,
  Completion,
  CompletionChunk,
  ModelList,
} from '../api/openai-objects.ts';
import type { ProgressListener } from './progress.ts';
import type { ChatCompletionRequest, CompletionRequest, RequestOptions } from './requests.ts';

export interface ConnectOptions {
  /** Ends the attempt to connect. A client that is connected is ended by `close`. */
  readonly signal?: AbortSignal | undefined;
  /** As `on('progress', …)`, from the beginning. */
  readonly onProgress?: ProgressListener | undefined;
}

/**
 * The pieces of an answer as they come, once. Nothing is asked of the mesh before the first of them is; who stops reading, by
 * `break`, `return` or an error, ends the work on every stage.
 */
export interface AnswerStream<Chunk> {
  /** @throws SkeinError `bad-argument` the second time. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Chunk>;
}

/** One way to ask a model. An answer comes whole, or, with `stream: true`, in pieces. */
export interface Completions<Request, Whole, Chunk> {
  /**
   * @throws SkeinError `bad-argument` with the parameter in `data.param`, `model-missing`, `no-route`, `busy`, `timeout`,
   * `aborted`, … What goes wrong once there is a stream comes out of the stream.
   */
  create(
    request: Request & { readonly stream?: false | null | undefined },
    options?: RequestOptions,
  ): Promise<Whole>;
  create(
    request: Request & { readonly stream: true },
    options?: RequestOptions,
  ): Promise<AnswerStream<Chunk>>;
  create(request: Request, options?: RequestOptions): Promise<Whole | AnswerStream<Chunk>>;
}

export type ChatCompletions = Completions<ChatCompletionRequest, ChatCompletion, ChatCompletionChunk>;
export type TextCompletions = Completions<CompletionRequest, Completion, CompletionChunk>;

/** A client of a mesh. Prompts and answers go between it and the tabs that compute, past the server. */
export interface Skein {
  readonly chat: { readonly completions: ChatCompletions };
  readonly completions: TextCompletions;
  readonly models: {
    /** What the server offers now. */
    list(): Promise<ModelList>;
  };
  /** @returns a function that stops listening. */
  on(type: 'progress', listener: ProgressListener): () => void;
  /** Ends the answers under way, with `aborted`, and the connection. Idempotent. */
  close(): Promise<void>;
}

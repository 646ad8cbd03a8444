import type { AnswerProgress, ProgressListener } from './progress.ts';

/** Of one call. */
export interface RequestOptions {
  /** Ends the work on every stage. The call, or its stream, then fails with `aborted`. */
  readonly signal?: AbortSignal | undefined;
  /** How this answer fares. */
  readonly onProgress?: ProgressListener<AnswerProgress> | undefined;
}

/** How an answer is sampled, and what bounds it. Where something is absent or null, it is as OpenAI documents. */
export interface SamplingOptions {
  readonly model: string;
  /** 0 to 2; by default 1. 0 always takes the most probable token. */
  readonly temperature?: number | null | undefined;
  readonly top_p?: number | null | undefined;
  /** Tokens to choose from; 0 for all. */
  readonly top_k?: number | null | undefined;
  readonly min_p?: number | null | undefined;
  readonly presence_penalty?: number | null | undefined;
  readonly frequency_penalty?: number | null | undefined;
  readonly repetition_penalty?: number | null | undefined;
  /** By token id, -100 to 100. */
  readonly logit_bias?: Readonly<Record<string, number>> | null | undefined;
  /** The same question with the same seed has the same answer. */
  readonly seed?: number | null | undefined;
  /** Answers to give, at most 16. */
  readonly n?: number | null | undefined;
  /** Up to 4; the answer ends before the first that appears. */
  readonly stop?: string | readonly string[] | null | undefined;
  readonly min_tokens?: number | null | undefined;
  readonly max_tokens?: number | null | undefined;
  /** For the whole answer, waiting included. */
  readonly time_limit_seconds?: number | null | undefined;
  /** No effect: taken so that programs need no change. */
  readonly user?: string | null | undefined;
}

export interface TextPart {
  readonly type: 'text';
  readonly text: string;
}

export interface FunctionCall {
  readonly id: string;
  readonly type: 'function';
  readonly function: {
    readonly name: string;
    /** JSON. */
    readonly arguments: string;
  };
}

/** A turn of a conversation. */
export type ChatTurn =
  | {
      readonly role: 'system' | 'developer' | 'user';
      readonly content: string | readonly TextPart[];
      readonly name?: string | null | undefined;
    }
  | {
      readonly role: 'assistant';
      readonly content?: string | readonly TextPart[] | null | undefined;
      readonly reasoning_content?: string | null | undefined;
      readonly refusal?: string | null | undefined;
      readonly tool_calls?: readonly FunctionCall[] | null | undefined;
      readonly name?: string | null | undefined;
    }
  | {
      readonly role: 'tool';
      readonly content: string | readonly TextPart[];
      readonly tool_call_id: string;
      readonly name?: string | null | undefined;
    };

export interface FunctionTool {
  readonly type: 'function';
  readonly function: {
    readonly name: string;
    readonly description?: string | null | undefined;
    /** JSON schema of the arguments. */
    readonly parameters?: Readonly<Record<string, unknown>> | null | undefined;
    /** No effect: arguments always keep to the schema. */
    readonly strict?: boolean | null | undefined;
  };
}

interface NamedFunction {
  readonly type: 'function';
  readonly function: { readonly name: string };
}

/** As OpenAI's chat completions. What is not supported is refused by name, with `bad-argument`. */
export interface ChatCompletionRequest extends SamplingOptions {
  readonly messages: readonly ChatTurn[];
  readonly max_completion_tokens?: number | null | undefined;
  readonly logprobs?: boolean | null | undefined;
  readonly top_logprobs?: number | null | undefined;
  readonly response_format?:
    | { readonly type: 'text' | 'json_object' }
    | {
        readonly type: 'json_schema';
        readonly json_schema: {
          readonly name: string;
          readonly description?: string | null | undefined;
          readonly schema?: Readonly<Record<string, unknown>> | null | undefined;
          readonly strict?: boolean | null | undefined;
        };
      }
    | null
    | undefined;
  readonly tools?: readonly FunctionTool[] | null | undefined;
  readonly tool_choice?:
    | 'none'
    | 'auto'
    | 'required'
    | NamedFunction
    | {
        readonly type: 'allowed_tools';
        readonly allowed_tools: {
          readonly mode: 'auto' | 'required';
          readonly tools: readonly NamedFunction[];
        };
      }
    | null
    | undefined;
  readonly parallel_tool_calls?: boolean | null | undefined;
  /** `none` and `minimal` ask a model that can think not to. */
  readonly reasoning_effort?:
    'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max' | null | undefined;
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: StreamOptions | null | undefined;
}

/** As OpenAI's completions: texts to continue, without a chat template. */
export interface CompletionRequest extends SamplingOptions {
  /** Texts, or token ids. */
  readonly prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  /** Log-probabilities of the tokens, and of so many others. */
  readonly logprobs?: number | null | undefined;
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: StreamOptions | null | undefined;
}

export interface StreamOptions {
  /** The last chunk tells how many tokens there were. */
  readonly include_usage?: boolean | null | undefined;
}

/** The objects of OpenAI's API, as callers get them. Shapes alone, so that they can be published. */

/** Tokens of a question and its answers, as OpenAI's API writes them. */
export interface CompletionUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details: { readonly reasoning_tokens: number };
}

/** A token with its probability, as OpenAI's API writes it. */
export interface ChatTokenLogprob {
  readonly token: string;
  readonly bytes: number[];
  readonly logprob: number;
  readonly top_logprobs: { readonly token: string; readonly bytes: number[]; readonly logprob: number }[];
}
export interface ChatLogprobs {
  readonly content: ChatTokenLogprob[];
  readonly refusal: null;
}
export type ChatFinishReason = 'stop' | 'length' | 'tool_calls';

export interface ChatToolCall {
  readonly id: string;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: string };
}

export interface ChatChoice {
  readonly index: number;
  readonly message: {
    readonly role: 'assistant';
    readonly content: string | null;
    readonly refusal: null;
    /** What the model thought before; no part of OpenAI's own API, and what other servers call it. */
    readonly reasoning_content?: string;
    readonly tool_calls?: ChatToolCall[];
  };
  readonly logprobs: ChatLogprobs | null;
  readonly finish_reason: ChatFinishReason;
}

export interface ChatCompletion {
  readonly id: string;
  readonly object: 'chat.completion';
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
  readonly choices: ChatChoice[];
  readonly usage: CompletionUsage;
}

export interface ChatDelta {
  readonly role?: 'assistant';
  readonly content?: string | null;
  readonly refusal?: null;
  readonly reasoning_content?: string;
  readonly tool_calls?: {
    readonly index: number;
    readonly id?: string;
    readonly type?: 'function';
    readonly function: { readonly name?: string; readonly arguments: string };
  }[];
}

export interface ChatCompletionChunk {
  readonly id: string;
  readonly object: 'chat.completion.chunk';
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
  readonly choices: {
    readonly index: number;
    readonly delta: ChatDelta;
    readonly logprobs: ChatLogprobs | null;
    readonly finish_reason: ChatFinishReason | null;
  }[];
  /** Null in every chunk but the last, and absent unless asked for. */
  readonly usage?: CompletionUsage | null;
}

/** Four lists of one length, a token each. */
export interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: number[];
  readonly top_logprobs: Record<string, number>[];
  /** Characters before the token, in the answer. */
  readonly text_offset: number[];
}

export interface CompletionChoice {
  readonly index: number;
  readonly text: string;
  readonly logprobs: CompletionLogprobs | null;
  readonly finish_reason: 'stop' | 'length';
}

export interface Completion {
  readonly id: string;
  readonly object: 'text_completion';
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
  readonly choices: CompletionChoice[];
  readonly usage: CompletionUsage;
}

/** A piece of a text completion. */
export interface CompletionChunk extends Omit<Completion, 'choices' | 'usage'> {
  readonly choices: (Omit<CompletionChoice, 'finish_reason'> & {
    readonly finish_reason: CompletionChoice['finish_reason'] | null;
  })[];
  /** Null in every chunk but the last, and absent unless asked for. */
  readonly usage?: CompletionUsage | null;
}

/** A model as OpenAI's API describes it. */
export interface ModelObject {
  readonly id: string;
  readonly object: 'model';
  /** Models here have no date; OpenAI's clients want one. */
  readonly created: 0;
  readonly owned_by: 'skein';
  /** Tokens that a prompt and its answer may have together. */
  readonly context_length: number;
}

export interface ModelList {
  readonly object: 'list';
  readonly data: readonly ModelObject[];
}

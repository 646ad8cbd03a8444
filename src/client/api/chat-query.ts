import type { ModelId } from '../../protocol/ids.ts';
import type { SamplingParams } from '../../protocol/sampling.ts';
import type { Prompt } from '../generation.ts';

/** A JSON schema, as the specification has it: an object, or a boolean that takes everything or nothing. */
export type JsonSchema = boolean | Readonly<Record<string, unknown>>;

/** A function that the model may ask its caller to call. */
export interface ToolDefinition {
  readonly name: string;
  readonly description?: string;
  /** Of the arguments, which are an object; any object where it is absent. */
  readonly parameters?: JsonSchema;
}

/** `named` has to be called; of `required` one has to be. */
export type ToolChoice =
  | { readonly kind: 'auto' }
  | { readonly kind: 'none' }
  | { readonly kind: 'required' }
  | { readonly kind: 'named'; readonly name: string };

/** What the text of an answer has to be. */
export type AnswerShape =
  | { readonly kind: 'text' }
  | { readonly kind: 'json-object' }
  | { readonly kind: 'json-schema'; readonly schema: JsonSchema };

/** A question to a model, whichever API it came by: checked, and with every default filled in. */
export interface ChatQuery {
  readonly model: ModelId;
  readonly prompt: Prompt;
  readonly tools: readonly ToolDefinition[];
  readonly toolChoice: ToolChoice;
  /** Whether one answer may call several tools. */
  readonly isParallel: boolean;
  readonly shape: AnswerShape;
  readonly sampling: SamplingParams;
  /** Whether text comes with its tokens and their log-probabilities; default false. */
  readonly scoresTokens?: boolean;
  /** Tokens of an answer, reasoning included; null for as many as there is room for. */
  readonly maxTokens: number | null;
  /** An answer ends before the first of these. */
  readonly stopStrings: readonly string[];
  /** Whether a model that can think is to; null leaves it to the model's template. */
  readonly thinks: boolean | null;
  /** Answers to give, each with a seed of its own. */
  readonly choices: number;
  /** What its API calls the parameters of the prompt and of the shape; as in OpenAI's completions by default. */
  readonly paramNames?: { readonly prompt: string; readonly shape: string };
  /** For all answers, waiting included. */
  readonly timeLimitMs?: number;
}

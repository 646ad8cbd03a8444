import type { GenerateEvent, GenerateResult } from '../generation.ts';
import type { TokenLogProbability } from '../../protocol/sampling.ts';

export type AnswerEnd = 'stop' | 'length' | 'tool-calls';

/** Tokens of a question, as APIs bill them. */
export interface Usage {
  readonly promptTokens: number;
  /** Of those, the ones that nobody had to compute. */
  readonly cachedTokens: number;
  /** Of all choices. */
  readonly completionTokens: number;
  /** Of those, the ones between the marks of a model that thinks. */
  readonly reasoningTokens: number;
}

/** A token of an answer with its natural log-probability under the unmodified distribution. */
export interface ScoredToken extends TokenLogProbability {
  /** As text; a token that is part of a character has U+FFFD. */
  readonly text: string;
  /** As UTF-8. */
  readonly bytes: readonly number[];
  readonly top: readonly (TokenLogProbability & {
    readonly text: string;
    readonly bytes: readonly number[];
  })[];
}

/** What becomes of a question, `choice` by choice. The order within a choice is that of the model's output. */
export type AnswerEvent =
  /** First of all: how long the questions are, together. */
  | { readonly type: 'prompt'; readonly tokens: number }
  /** How it fares on the mesh. */
  | {
      readonly type: 'progress';
      readonly choice: number;
      readonly progress: Extract<GenerateEvent, { type: 'queued' | 'route' | 'waiting' | 'resumed' }>;
    }
  /** A piece of what the model thinks before it answers. */
  | { readonly type: 'reasoning'; readonly choice: number; readonly text: string }
  /** A piece of the answer; `tokens` are the tokens it came with, when log-probabilities were asked for. */
  | {
      readonly type: 'text';
      readonly choice: number;
      readonly text: string;
      readonly tokens: readonly ScoredToken[];
    }
  /** A call begins; `index` counts the calls of this choice. */
  | {
      readonly type: 'tool-call';
      readonly choice: number;
      readonly index: number;
      readonly id: string;
      readonly name: string;
    }
  /** A piece of its arguments' JSON. */
  | {
      readonly type: 'tool-arguments';
      readonly choice: number;
      readonly index: number;
      readonly json: string;
    }
  | {
      readonly type: 'end';
      readonly choice: number;
      readonly end: AnswerEnd;
      /** The stop string that ended it, when one did. */
      readonly stopString: string | null;
      readonly result: GenerateResult;
    }
  /** All choices have ended. */
  | { readonly type: 'done'; readonly usage: Usage };

/** A piece of what the model puts out. */
export type AnswerPiece = Extract<
  AnswerEvent,
  { type: 'reasoning' | 'text' | 'tool-call' | 'tool-arguments' }
>;

import type { TokenLogProbability } from '../../protocol/sampling.ts';
import type { StreamDecoder, Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { AnswerReader, GenerateEvent } from '../generation.ts';
import type { ScoredToken } from './answer-events.ts';
import { OutputParser } from './output-parser.ts';
import type { OutputParserOptions, OutputPart } from './output-parser.ts';

type TokenEvent = Extract<GenerateEvent, { type: 'token' }>;
export type ReaderTokenizer = Pick<Tokenizer, 'streamDecoder' | 'tokenBytes'>;

/** A part of an answer, a text with the tokens that it was made of. */
export type ReadPart =
  | Exclude<OutputPart, { type: 'text' }>
  | { readonly type: 'text'; readonly text: string; readonly tokens: readonly ScoredToken[] };

/** A token and the characters of the output that it gave: [start, end). */
interface PlacedToken {
  readonly token: ScoredToken;
  readonly start: number;
  readonly end: number;
}

export interface ChoiceReaderOptions extends OutputParserOptions {
  /** Whether text comes with its tokens. */
  readonly scoresTokens: boolean;
}

/** Reads one answer: a generation pushes its tokens, and whoever hears of them takes what they mean. */
export class ChoiceReader implements AnswerReader {
  readonly #decoder: StreamDecoder;
  readonly #parser: OutputParser;
  readonly #parts: OutputPart[] = [];
  /** Of which no part has told yet. */
  #placed: PlacedToken[] = [];
  #latest: { readonly start: number; readonly end: number } | null = null;
  #text = '';
  #reasoningTokens = 0;

  constructor(
    private readonly tokenizer: ReaderTokenizer,
    private readonly options: ChoiceReaderOptions,
  ) {
    const { reasoning, calls } = options;
    const marks = [reasoning, calls].flatMap((pair) => (pair === null ? [] : [pair.open, pair.close]));
    this.#decoder = tokenizer.streamDecoder({ shownMarks: marks });
    this.#parser = new OutputParser(options);
  }

  get stopped(): boolean {
    return this.#parser.isOver;
  }

  /** Without reasoning and calls. */
  get text(): string {
    return this.#text;
  }

  get stopString(): string | null {
    return this.#parser.stopString;
  }

  get hasCalls(): boolean {
    return this.#parser.callCount > 0;
  }

  /** Tokens between the marks of reasoning. */
  get reasoningTokens(): number {
    return this.#reasoningTokens;
  }

  push(tokenId: number): string {
    const start = this.#parser.length;
    const wasReasoning = this.#parser.isReasoning();
    this.#parts.push(...this.#parser.push(this.#decoder.push(tokenId)));
    if (wasReasoning && this.#parser.isReasoning()) this.#reasoningTokens += 1;
    // A token that is part of a character belongs to the character.
    this.#latest = { start, end: Math.max(this.#parser.length, start + 1) };
    return '';
  }

  /** Nothing is held back for the generation: `end` gives what is left. */
  flush(): string {
    return '';
  }

  /** @returns what is certain with this token, which was pushed before. A stop token was not. */
  take(event: TokenEvent): ReadPart[] {
    if (this.#latest !== null && this.options.scoresTokens) {
      this.#placed.push({ ...this.#latest, token: this.#scored(event) });
    }
    this.#latest = null;
    return this.#takeParts();
  }

  /** @returns what was held back. */
  end(): ReadPart[] {
    if (!this.#parser.isOver) this.#parts.push(...this.#parser.push(this.#decoder.flush()));
    this.#parts.push(...this.#parser.end());
    return this.#takeParts();
  }

  #takeParts(): ReadPart[] {
    return this.#parts.splice(0).map((part) => {
      if (part.type !== 'text') return part;
      this.#text += part.text;
      const { start, end } = part;
      const tokens = this.#placed.filter((placed) => placed.start < end && placed.end > start);
      this.#placed = this.#placed.filter((placed) => placed.start >= end);
      return { type: 'text', text: part.text, tokens: tokens.map(({ token }) => token) };
    });
  }

  #scored({ tokenId, logProbability, topLogProbabilities }: TokenEvent): ScoredToken {
    return {
      ...this.#written({ tokenId, logProbability }),
      top: topLogProbabilities.map((other) => this.#written(other)),
    };
  }

  #written({ tokenId, logProbability }: TokenLogProbability) {
    const bytes = this.tokenizer.tokenBytes(tokenId) ?? new Uint8Array();
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    return { tokenId, logProbability, text, bytes: [...bytes] };
  }
}

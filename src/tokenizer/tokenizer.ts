import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { SkeinError } from '../protocol/errors.ts';
import { describeFile, missingFile } from '../model/model-path.ts';
import { readJsonFile } from '../model/read-file.ts';
import { readStopTokenIds } from './stop-tokens.ts';
import { WindowedStreamDecoder } from './stream-decoder.ts';
import { tokenSpelling } from './token-bytes.ts';
import type { TokenSpelling } from './token-bytes.ts';
import { readTokenizerConfig } from './tokenizer-config.ts';
import type { FileSource } from '../model/file-source.ts';
import type { ChatMessage, ChatTemplate, RenderOptions } from './chat-template.ts';
import type { StreamDecoder } from './stream-decoder.ts';

export type { ChatMessage, RenderOptions, ToolCall } from './chat-template.ts';
export type { StreamDecoder } from './stream-decoder.ts';

const TOKENIZER_FILE = 'tokenizer.json';

export interface DecodeOptions {
  /** Leaves out tokens that are marks rather than text, such as `<|im_end|>`. Default true. */
  readonly skipSpecial?: boolean;
  /** Marks that are text all the same, such as `<tool_call>`, which some models have as a special token and others not. */
  readonly shownMarks?: readonly string[];
}

/** Text ↔ token ids, and conversations ↔ text, as one model wants them. */
export class Tokenizer {
  readonly #specialIds: ReadonlySet<number>;
  /** Ids of tokens that are written out in the vocabulary, special or not. */
  readonly #addedIds: ReadonlyMap<string, number>;

  private constructor(
    private readonly library: HuggingFaceTokenizer,
    private readonly chatTemplate: ChatTemplate | null,
    private readonly folder: string,
    /** Sampling one of these ends an answer. */
    readonly stopTokenIds: readonly number[],
    private readonly spelling: TokenSpelling,
  ) {
    const added = [...library.get_added_tokens_decoder()];
    this.#specialIds = new Set(added.filter(([, token]) => token.special).map(([id]) => id));
    this.#addedIds = new Map(added.map(([id, { content }]) => [content, id]));
  }

  /**
   * Reads tokenizer.json, tokenizer_config.json, the chat template and the stop tokens of a model folder.
   * @throws SkeinError `model-missing` without tokenizer.json, `model-corrupt` or `model-unsupported` naming the file.
   */
  static async load(source: FileSource, signal?: AbortSignal): Promise<Tokenizer> {
    const [json, config, stopTokenIds] = await Promise.all([
      readJsonFile(source, TOKENIZER_FILE, signal),
      readTokenizerConfig(source, signal),
      readStopTokenIds(source, signal),
    ]);
    if (json === undefined) {
      throw missingFile(source, TOKENIZER_FILE, 'does not exist; other forms of tokenizers cannot be read.');
    }
    const library = build(json, config.json, describeFile(source, TOKENIZER_FILE));
    const endId = config.endToken === null ? undefined : library.token_to_id(config.endToken);
    const fallback = endId === undefined ? [] : [endId];
    return new Tokenizer(
      library,
      config.chatTemplate,
      source.description,
      stopTokenIds ?? fallback,
      tokenSpelling(json),
    );
  }

  /** Special tokens written in the text become their ids; none are added. @throws SkeinError `bad-argument` for text outside the vocabulary. */
  encode(text: string): number[] {
    const ids: (number | undefined)[] = this.library.encode(text, { add_special_tokens: false }).ids;
    return ids.map((id) => {
      if (id !== undefined) return id;
      throw new SkeinError('bad-argument', 'The text has characters that the vocabulary of the model lacks.');
    });
  }

  /** Ids without a token, which the padding of a vocabulary has, give no text. */
  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    return this.#decodeVisible(ids.filter(this.#visibility(options)));
  }

  /** For one answer. What it hands out, joined, equals `decode` of all the ids. */
  streamDecoder(options: DecodeOptions = {}): StreamDecoder {
    return new WindowedStreamDecoder((ids) => this.#decodeVisible(ids), this.#visibility(options));
  }

  /** What a token stands for, often a part of a character only. @returns null for an id without a token. */
  tokenBytes(id: number): Uint8Array | null {
    const token = this.library.id_to_token(id);
    if (token === undefined) return null;
    return this.#addedIds.get(token) === id ? new TextEncoder().encode(token) : this.spelling(token);
  }

  /** Whether a token is a mark rather than text. */
  isSpecial(id: number): boolean {
    return this.#specialIds.has(id);
  }

  /** Whether the model knows this mark: its vocabulary has it as a token, or its chat template writes it. */
  knowsMark(mark: string): boolean {
    return this.#addedIds.has(mark) || this.templateMentions(mark);
  }

  /** Whether the chat template writes this text, or asks for a variable of this name. */
  templateMentions(text: string): boolean {
    return this.chatTemplate?.mentions(text) ?? false;
  }

  /**
   * The text of a conversation, ready for `encode`.
   * @throws SkeinError `model-unsupported` for a model without a chat template, `bad-argument` when its template refuses the conversation.
   */
  renderChat(messages: readonly ChatMessage[], options?: RenderOptions): string {
    if (this.chatTemplate) return this.chatTemplate.render(messages, options);
    throw new SkeinError(
      'model-unsupported',
      `${this.folder} has no chat template, so it is no chat model. Send a plain prompt instead of a chat.`,
      { data: { file: this.folder, field: 'chat_template' } },
    );
  }

  #visibility({ skipSpecial = true, shownMarks = [] }: DecodeOptions): (id: number) => boolean {
    const shown = new Set(shownMarks.map((mark) => this.#addedIds.get(mark)));
    const isHidden = (id: number) => skipSpecial && this.#specialIds.has(id) && !shown.has(id);
    return (id) => this.library.id_to_token(id) !== undefined && !isHidden(id);
  }

  #decodeVisible(ids: readonly number[]): string {
    if (ids.length === 0) return '';
    return this.library.decode([...ids], {
      skip_special_tokens: false,
      // It removes spaces before punctuation, in answers about code too, and a stream could not take them back.
      clean_up_tokenization_spaces: false,
    });
  }
}

function build(json: unknown, config: object, file: string): HuggingFaceTokenizer {
  try {
    return new HuggingFaceTokenizer(json as object, config);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SkeinError('model-corrupt', `${file} is not a tokenizer that can be read: ${reason}.`, {
      data: { file },
      cause,
    });
  }
}

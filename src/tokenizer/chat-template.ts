import { Template } from '@huggingface/jinja';
import { SkeinError } from '../protocol/errors.ts';

/** A call of a tool that the model asked for. Spelled as OpenAI and the chat templates spell it. */
export interface ToolCall {
  readonly id?: string;
  readonly type?: 'function';
  readonly function: {
    readonly name: string;
    /** An object, or its JSON. */
    readonly arguments: string | Readonly<Record<string, unknown>>;
  };
}

/** One turn of a conversation, as chat templates take it. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string;
  /** What the model thought before it said that. */
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly ToolCall[];
  readonly tool_call_id?: string;
  readonly name?: string;
}

export interface RenderOptions {
  /** Ends the text where the model is to answer. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** Descriptions of tools, in OpenAI's form. */
  readonly tools?: readonly object[];
  /** Switches of the model's own, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** The Jinja text by which a model wants its conversations written. */
export class ChatTemplate {
  #parsed: Template | null = null;

  /**
   * @param file where it came from, for messages.
   * @param specialTokens such as `bos_token`, by the name templates use.
   */
  constructor(
    private readonly text: string,
    private readonly file: string,
    private readonly specialTokens: Readonly<Record<string, string>>,
  ) {}

  /** Whether the template writes this text, or asks for a variable of this name. */
  mentions(text: string): boolean {
    return this.text.includes(text);
  }

  /**
   * @throws SkeinError `model-unsupported` for a template that cannot be read, `bad-argument` when the template refuses the conversation.
   */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    const template = (this.#parsed ??= this.#parse());
    try {
      return template.render({
        ...this.specialTokens,
        ...options.variables,
        messages,
        // Templates ask whether there are tools at all; an empty list would announce none of them.
        ...(options.tools?.length ? { tools: options.tools } : {}),
        add_generation_prompt: options.addGenerationPrompt ?? true,
      });
    } catch (cause) {
      throw new SkeinError(
        'bad-argument',
        `The chat template in ${this.file} does not take this conversation: ${reasonOf(cause)}.`,
        { data: { file: this.file }, cause },
      );
    }
  }

  #parse(): Template {
    try {
      return new Template(this.text);
    } catch (cause) {
      throw new SkeinError(
        'model-unsupported',
        `The chat template in ${this.file} cannot be read: ${reasonOf(cause)}. Send a plain prompt instead of a chat.`,
        { data: { file: this.file, field: 'chat_template' }, cause },
      );
    }
  }
}

function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

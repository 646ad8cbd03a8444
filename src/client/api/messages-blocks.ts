import type { AnswerPiece } from './answer-events.ts';

/** An event of the stream; `type` is also the name of the server-sent event. */
export interface MessageEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A block of `content`, as the API has it. */
export interface ContentBlock {
  readonly type: 'thinking' | 'text' | 'tool_use';
  readonly [field: string]: unknown;
}

type OpenBlock =
  | { readonly type: 'thinking' | 'text'; text: string }
  | { readonly type: 'tool_use'; readonly id: string; readonly name: string; json: string };

interface MessageBlocksOptions {
  /** What thinking blocks are signed with. Nobody checks it; clients take a block without one for none. */
  readonly signature: string;
  /** Whether blocks of thinking say what was thought. */
  readonly showsThinking: boolean;
}

/**
 * The `content` of one message while it grows: blocks in the order of the model's output, one of them open at a time. What it
 * returns are the events that tell a client so.
 */
export class MessageBlocks {
  readonly #ended: (ContentBlock | null)[] = [];
  #open: OpenBlock | null = null;

  constructor(private readonly options: MessageBlocksOptions) {}

  /** The blocks that have ended; without a call whose arguments were cut, which nobody could make. */
  get content(): readonly ContentBlock[] {
    return this.#ended.filter((block) => block !== null);
  }

  write(piece: AnswerPiece): MessageEvent[] {
    switch (piece.type) {
      case 'reasoning':
        return this.#writeText('thinking', piece.text);
      case 'text':
        return this.#writeText('text', piece.text);
      case 'tool-call': {
        const { id, name } = piece;
        return [...this.end(), ...this.#begin({ type: 'tool_use', id, name, json: '' })];
      }
      case 'tool-arguments': {
        const block = this.#open;
        if (block?.type !== 'tool_use' || piece.json === '') return [];
        block.json += piece.json;
        return [this.#delta({ type: 'input_json_delta', partial_json: piece.json })];
      }
    }
  }

  /** Ends the block that is open. */
  end(): MessageEvent[] {
    const block = this.#open;
    if (block === null) return [];
    const { signature } = this.options;
    const signed = block.type === 'thinking' ? [this.#delta({ type: 'signature_delta', signature })] : [];
    const events = [...signed, { type: 'content_block_stop', index: this.#ended.length }];
    this.#ended.push(this.#whole(block));
    this.#open = null;
    return events;
  }

  #writeText(type: 'thinking' | 'text', text: string): MessageEvent[] {
    if (text === '') return [];
    const events: MessageEvent[] = [];
    let block = this.#open;
    if (block?.type !== type) {
      block = { type, text: '' };
      events.push(...this.end(), ...this.#begin(block));
    }
    if (type === 'text') events.push(this.#delta({ type: 'text_delta', text }));
    else if (this.options.showsThinking) events.push(this.#delta({ type: 'thinking_delta', thinking: text }));
    else return events;
    block.text += text;
    return events;
  }

  #begin(block: OpenBlock): MessageEvent[] {
    this.#open = block;
    return [
      { type: 'content_block_start', index: this.#ended.length, content_block: blockOf(block, {}, '') },
    ];
  }

  #delta(delta: object): MessageEvent {
    return { type: 'content_block_delta', index: this.#ended.length, delta };
  }

  #whole(block: OpenBlock): ContentBlock | null {
    const input = block.type === 'tool_use' ? objectOf(block.json) : {};
    return input === null ? null : blockOf(block, input, this.options.signature);
  }
}

function blockOf(block: OpenBlock, input: object, signature: string): ContentBlock {
  switch (block.type) {
    case 'thinking':
      return { type: 'thinking', thinking: block.text, signature };
    case 'text':
      return { type: 'text', text: block.text, citations: null };
    case 'tool_use': {
      const { id, name } = block;
      return { type: 'tool_use', id, name, input, caller: { type: 'direct' } };
    }
  }
}

/** @returns null for text that is no JSON of an object. */
function objectOf(json: string): object | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

import type { ChatMessage, ToolCall } from '../../tokenizer/tokenizer.ts';

/** Between texts of their own that become one. */
export const BLOCK_SEPARATOR = '\n';

/** Pieces of one conversation. */
export const MAX_PIECES = 4096;

type Turn = { -readonly [Field in keyof ChatMessage]: ChatMessage[Field] } & { tool_calls?: ToolCall[] };

/** A call that the model made, as it is sent back. */
export interface PastCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string | Readonly<Record<string, unknown>>;
}

/**
 * A conversation that comes in smaller pieces than messages: what a model thought, said and called in one turn is one message of a
 * chat template.
 */
export class Conversation {
  readonly #turns: Turn[] = [];
  readonly #callIds = new Set<string>();

  /** @param combines whether turns of one role that follow each other are one turn. */
  constructor(private readonly combines: boolean) {}

  /** What was thought before nothing was said is nothing to anybody. */
  get messages(): readonly ChatMessage[] {
    return this.#turns.filter(
      ({ role, content, tool_calls: calls }) => role !== 'assistant' || content !== '' || calls !== undefined,
    );
  }

  /** Whether a call of this id was made. */
  hasCall(id: string): boolean {
    return this.#callIds.has(id);
  }

  system(content: string): void {
    this.#turns.push({ role: 'system', content });
  }

  user(content: string): void {
    const last = this.#turns.at(-1);
    if (this.combines && last?.role === 'user') last.content = joined(last.content, content);
    else this.#turns.push({ role: 'user', content });
  }

  /** What the model thought before it said, or called, what follows. */
  think(thought: string): void {
    if (thought === '') return;
    const turn = this.#assistantTurn(this.combines);
    turn.reasoning_content = joined(turn.reasoning_content ?? '', thought);
  }

  say(content: string): void {
    const last = this.#turns.at(-1);
    const isBegun = last?.content === '' && last.tool_calls === undefined;
    const turn = this.#assistantTurn(this.combines || isBegun);
    turn.content = joined(turn.content, content);
  }

  call({ id, name, arguments: given }: PastCall): void {
    const turn = this.#assistantTurn(true);
    turn.tool_calls ??= [];
    turn.tool_calls.push({ id, type: 'function', function: { name, arguments: given } });
    this.#callIds.add(id);
  }

  /** What a call gave. */
  result(callId: string, content: string): void {
    this.#turns.push({ role: 'tool', content, tool_call_id: callId });
  }

  #assistantTurn(goesOn: boolean): Turn {
    const last = this.#turns.at(-1);
    if (goesOn && last?.role === 'assistant') return last;
    const turn: Turn = { role: 'assistant', content: '' };
    this.#turns.push(turn);
    return turn;
  }
}

function joined(before: string, after: string): string {
  return before === '' || after === '' ? before + after : before + BLOCK_SEPARATOR + after;
}

import type { AnswerPiece, ScoredToken } from './answer-events.ts';

/** An event of the stream, not numbered yet. */
export interface OutputEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

type ItemStatus = 'in_progress' | 'completed' | 'incomplete';
/** An item of `output`, as the API has it. */
export type OutputItem = Readonly<Record<string, unknown>> & {
  readonly id: string;
  readonly type: 'reasoning' | 'message' | 'function_call';
  readonly status: ItemStatus;
};

interface OpenText {
  readonly type: 'reasoning' | 'message';
  readonly id: string;
  text: string;
  readonly logprobs: object[];
}
interface OpenCall {
  readonly type: 'function_call';
  readonly id: string;
  readonly callId: string;
  readonly name: string;
  json: string;
}
type OpenItem = OpenText | OpenCall;

const ID_PREFIXES = { reasoning: 'rs', message: 'msg', function_call: 'fc' } as const;

/**
 * The `output` of one response while it grows: items in the order of the model's output, one of them open at a time. What it
 * returns are the events that tell a client so, each item begun and ended as the API does it.
 */
export class OutputItems {
  readonly #ended: OutputItem[] = [];
  #open: OpenItem | null = null;
  /** Of tokens whose text has not come yet. */
  #waitingLogprobs: object[] = [];

  /** @param id of the response, in all its items' ids. */
  constructor(private readonly id: string) {}

  /** The items that have ended. */
  get ended(): readonly OutputItem[] {
    return this.#ended;
  }

  write(piece: AnswerPiece): OutputEvent[] {
    switch (piece.type) {
      case 'reasoning':
        return piece.text === '' ? [] : this.#writeText('reasoning', piece.text, []);
      case 'text': {
        const logprobs = [...this.#waitingLogprobs, ...piece.tokens.map(logprobOf)];
        this.#waitingLogprobs = piece.text === '' ? logprobs : [];
        return piece.text === '' ? [] : this.#writeText('message', piece.text, logprobs);
      }
      case 'tool-call':
        return [
          ...this.#close('completed'),
          ...this.#begin({
            type: 'function_call',
            id: this.#newId('function_call'),
            callId: piece.id,
            name: piece.name,
            json: '',
          }),
        ];
      case 'tool-arguments': {
        const call = this.#open;
        if (call?.type !== 'function_call' || piece.json === '') return [];
        call.json += piece.json;
        return [this.#event('response.function_call_arguments.delta', call, { delta: piece.json })];
      }
    }
  }

  /** @param isCut whether the answer ended for want of tokens: its last item is incomplete then. */
  end(isCut: boolean): OutputEvent[] {
    const items = [...this.#ended, ...(this.#open === null ? [] : [this.#open])];
    const hasAnswer = items.some(({ type }) => type !== 'reasoning');
    // An empty answer is an answer, unless it was cut before it began.
    const begun = hasAnswer || isCut ? [] : this.#writeText('message', '', []);
    return [...begun, ...this.#close(isCut ? 'incomplete' : 'completed')];
  }

  #writeText(type: 'reasoning' | 'message', text: string, logprobs: readonly object[]): OutputEvent[] {
    const events: OutputEvent[] = [];
    let item = this.#open;
    if (item?.type !== type) {
      item = { type, id: this.#newId(type), text: '', logprobs: [] };
      events.push(...this.#close('completed'), ...this.#begin(item));
    }
    if (text === '') return events;
    item.text += text;
    item.logprobs.push(...logprobs);
    const name = type === 'message' ? 'response.output_text.delta' : 'response.reasoning_text.delta';
    events.push(
      this.#event(name, item, {
        content_index: 0,
        delta: text,
        ...(type === 'message' ? { logprobs } : {}),
      }),
    );
    return events;
  }

  #begin(item: OpenItem): OutputEvent[] {
    // What was open before has ended, so that its place is counted.
    const index = { output_index: this.#ended.length };
    this.#open = item;
    const added = { type: 'response.output_item.added', ...index, item: itemOf(item, 'in_progress') };
    if (item.type === 'function_call') return [added];
    return [
      added,
      this.#event('response.content_part.added', item, { content_index: 0, part: partOf(item) }),
    ];
  }

  #close(status: ItemStatus): OutputEvent[] {
    const item = this.#open;
    if (item === null) return [];
    const events = item.type === 'function_call' ? this.#closeCall(item) : this.#closeText(item);
    const whole = itemOf(item, status);
    events.push({ type: 'response.output_item.done', output_index: this.#ended.length, item: whole });
    this.#ended.push(whole);
    this.#open = null;
    return events;
  }

  #closeCall(item: OpenCall): OutputEvent[] {
    const { json, name } = item;
    return [this.#event('response.function_call_arguments.done', item, { name, arguments: json })];
  }

  #closeText(item: OpenText): OutputEvent[] {
    const isMessage = item.type === 'message';
    if (isMessage) item.logprobs.push(...this.#waitingLogprobs.splice(0));
    const place = { content_index: 0 };
    const name = isMessage ? 'response.output_text.done' : 'response.reasoning_text.done';
    const logprobs = isMessage ? { logprobs: item.logprobs } : {};
    return [
      this.#event(name, item, { ...place, text: item.text, ...logprobs }),
      this.#event('response.content_part.done', item, { ...place, part: partOf(item) }),
    ];
  }

  #event(type: string, item: OpenItem, fields: object): OutputEvent {
    return { type, item_id: item.id, output_index: this.#ended.length, ...fields };
  }

  #newId(type: OpenItem['type']): string {
    const number = this.#ended.length + (this.#open === null ? 0 : 1);
    return `${ID_PREFIXES[type]}_${this.id}${number.toString(16).padStart(4, '0')}`;
  }
}

function itemOf(item: OpenItem, status: ItemStatus): OutputItem {
  switch (item.type) {
    case 'reasoning':
      return { id: item.id, type: 'reasoning', status, summary: [], content: contentOf(item, status) };
    case 'message':
      return { id: item.id, type: 'message', status, role: 'assistant', content: contentOf(item, status) };
    case 'function_call': {
      const { id, callId, name, json } = item;
      return { id, type: 'function_call', status, call_id: callId, name, arguments: json };
    }
  }
}

/** None before the part is added. */
function contentOf(item: OpenText, status: ItemStatus): object[] {
  return status === 'in_progress' ? [] : [partOf(item)];
}

function partOf({ type, text, logprobs }: OpenText): object {
  return type === 'reasoning'
    ? { type: 'reasoning_text', text }
    : { type: 'output_text', text, annotations: [], logprobs: [...logprobs] };
}

function logprobOf(token: ScoredToken): object {
  return { ...scored(token), top_logprobs: token.top.map(scored) };
}

function scored(token: { text: string; bytes: readonly number[]; logProbability: number }): object {
  return { token: token.text, bytes: token.bytes, logprob: token.logProbability };
}

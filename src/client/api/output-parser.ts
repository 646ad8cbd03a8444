import { CallReader } from './call-reader.ts';
import { isSpace } from './json-scanner.ts';
import { StopSearch } from './stop-search.ts';
import type { OutputCharacter } from './stop-search.ts';

/** What begins and what ends a passage of a model's output. */
export interface Marks {
  readonly open: string;
  readonly close: string;
}

export interface OutputParserOptions {
  /** Around what the model thinks before it answers; null where it does not. */
  readonly reasoning: Marks | null;
  /** Whether the prompt ends with the mark that begins it. */
  readonly startsInReasoning: boolean;
  /** Around calls; null where none are looked for. */
  readonly calls: Marks | null;
  readonly toolNames: ReadonlySet<string>;
  /** Whether the answer may go on after a call. */
  readonly isParallel: boolean;
  /** The text ends before the first of these that is complete. They are not looked for in reasoning and calls. */
  readonly stopStrings: readonly string[];
}

/** A part of a model's output. Pieces of one passage come one after the other. */
export type OutputPart =
  | { readonly type: 'reasoning'; readonly text: string }
  /** Made of the characters [start, end) of the output. */
  | { readonly type: 'text'; readonly text: string; readonly start: number; readonly end: number }
  | { readonly type: 'tool-call'; readonly index: number; readonly name: string }
  | { readonly type: 'tool-arguments'; readonly index: number; readonly json: string };

/**
 * Tells apart what a model thinks, says and calls, while it writes: however its output is cut into pieces, the parts are the same. Space around
 * reasoning and calls is no text. What looks like a call and is none is text.
 */
export class OutputParser {
  readonly #options: OutputParserOptions;
  readonly #stops: StopSearch;
  #state: 'opening' | 'reasoning' | 'text' | 'call';
  #parts: OutputPart[] = [];
  /** Characters that are still to be looked at; more than one only where they were taken for a call. */
  #input: OutputCharacter[] = [];
  /** What may begin a mark. */
  #begun: OutputCharacter[] = [];
  /** Space of which it is not known yet whether it is between words. */
  #space: OutputCharacter[] = [];
  /** Space at the beginning, or since the last call or the reasoning; null within a text. */
  #gap: OutputCharacter[] | null;
  /** The call that is being read, and what came of it, its mark included. */
  #call: { readonly reader: CallReader; readonly characters: OutputCharacter[] } | null = null;
  #callCount = 0;
  #length = 0;
  #hasText = false;
  #hasReasoning = false;
  #isOver = false;

  constructor(options: OutputParserOptions) {
    this.#options = options;
    this.#stops = new StopSearch(options.stopStrings);
    if (options.startsInReasoning) this.#state = 'reasoning';
    else this.#state = options.reasoning === null ? 'text' : 'opening';
    this.#gap = this.#state === 'text' ? null : [];
  }

  /** Whether nothing that comes now is a part of the answer. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** The stop string that ended the text. */
  get stopString(): string | null {
    return this.#stops.found;
  }

  get callCount(): number {
    return this.#callCount;
  }

  /** Whether what comes next is a thought. */
  isReasoning(): boolean {
    return this.#state === 'reasoning';
  }

  /** Characters that came. */
  get length(): number {
    return this.#length;
  }

  /** @returns what is certain now. */
  push(piece: string): readonly OutputPart[] {
    for (let index = 0; index < piece.length; index++) {
      this.#input.push({ character: piece.charAt(index), at: this.#length++ });
      this.#readInput();
    }
    return this.#takeParts();
  }

  /** The output ends here. @returns what was held back. */
  end(): readonly OutputPart[] {
    while (!this.#isOver && this.#call !== null) {
      if (this.#call.reader.isCall) this.#endCall(0);
      else this.#giveCallUp();
      this.#readInput();
    }
    for (const held of this.#begun.splice(0)) this.#ordinary(held);
    if (!this.#isPassagePast) for (const space of this.#gap?.splice(0) ?? []) this.#text(space);
    if (!this.#isOver && this.#state !== 'reasoning') {
      for (const held of this.#stops.flush()) this.#say(held);
      for (const held of this.#space.splice(0)) this.#tell(held);
    }
    this.#isOver = true;
    return this.#takeParts();
  }

  #readInput(): void {
    for (let next = this.#input.shift(); next !== undefined; next = this.#input.shift()) {
      if (this.#isOver) this.#input.length = 0;
      else if (this.#call === null) this.#lookForMark(next);
      else this.#readCall(next);
    }
  }

  #lookForMark(next: OutputCharacter): void {
    this.#begun.push(next);
    for (;;) {
      const marks = this.#marks();
      const begun = this.#begun.map(({ character }) => character).join('');
      if (marks.includes(begun)) {
        this.#mark(begun, this.#begun.splice(0));
        return;
      }
      if (begun === '' || marks.some((mark) => mark.startsWith(begun))) return;
      const first = this.#begun.shift();
      if (first !== undefined) this.#ordinary(first);
    }
  }

  /** That may come now. */
  #marks(): readonly string[] {
    const { reasoning, calls } = this.#options;
    if (this.#state === 'reasoning') return reasoning === null ? [] : [reasoning.close];
    const opening = this.#state === 'opening' && reasoning !== null ? [reasoning.open] : [];
    return calls === null ? opening : [...opening, calls.open];
  }

  #mark(mark: string, characters: readonly OutputCharacter[]): void {
    const { reasoning, calls, toolNames } = this.#options;
    if (calls !== null && mark === calls.open && this.#state !== 'reasoning') {
      for (const held of this.#stops.flush()) this.#say(held);
      const reader = new CallReader(toolNames, calls.close);
      this.#call = { reader, characters: [...characters] };
      this.#state = 'call';
      return;
    }
    this.#state = mark === reasoning?.open && this.#state === 'opening' ? 'reasoning' : 'text';
    this.#hasReasoning = true;
    this.#space = [];
    this.#gap = [];
  }

  /** Whether there was reasoning or a call: space after it is text only between words. */
  get #isPassagePast(): boolean {
    return this.#hasReasoning || this.#callCount > 0;
  }

  /** No part of a mark. */
  #ordinary(next: OutputCharacter): void {
    const { character } = next;
    if (this.#state === 'opening' && !isSpace(character)) this.#state = 'text';
    if (this.#gap !== null) {
      if (isSpace(character)) {
        this.#gap.push(next);
        return;
      }
      const isBetween = this.#state === 'text' && (this.#hasText || !this.#isPassagePast);
      const between = isBetween ? this.#gap : [];
      this.#gap = null;
      for (const space of between) this.#text(space);
    }
    if (this.#state === 'reasoning') this.#think(next);
    else this.#text(next);
  }

  #think(next: OutputCharacter): void {
    if (isSpace(next.character)) {
      this.#space.push(next);
      return;
    }
    const text = [...this.#space.splice(0), next].map(({ character }) => character).join('');
    this.#parts.push({ type: 'reasoning', text });
  }

  #text(next: OutputCharacter): void {
    if (this.#isOver) return;
    for (const certain of this.#stops.push(next)) this.#say(certain);
    if (this.#stops.found === null) return;
    for (const space of this.#space.splice(0)) this.#tell(space);
    this.#isOver = true;
  }

  /** No part of a stop string. Space before a call is no text. */
  #say(next: OutputCharacter): void {
    if (this.#options.calls !== null && isSpace(next.character)) {
      this.#space.push(next);
      return;
    }
    for (const space of this.#space.splice(0)) this.#tell(space);
    this.#tell(next);
  }

  #tell({ character, at }: OutputCharacter): void {
    this.#hasText = true;
    this.#parts.push({ type: 'text', text: character, start: at, end: at + 1 });
  }

  #readCall(next: OutputCharacter): void {
    if (this.#call === null) return;
    const { reader, characters } = this.#call;
    characters.push(next);
    const step = reader.push(next.character);
    this.#tellCall();
    if (step === 'done') this.#endCall(0);
    else if (step === 'ended') this.#endCall(reader.strayClosing.length);
    else if (step === 'no-call') this.#giveCallUp();
  }

  #tellCall(): void {
    if (this.#call === null) return;
    const { reader } = this.#call;
    for (const part of reader.parts.splice(0)) {
      if (part.type === 'name') {
        this.#space = [];
        this.#parts.push({ type: 'tool-call', index: this.#callCount++, name: part.name });
      } else {
        this.#parts.push({ type: 'tool-arguments', index: this.#callCount - 1, json: part.json });
      }
    }
  }

  /** @param strayLength of the characters at its end that are no part of it. */
  #endCall(strayLength: number): void {
    const stray = strayLength === 0 ? [] : (this.#call?.characters.slice(-strayLength) ?? []);
    this.#call = null;
    this.#state = 'text';
    this.#gap = [];
    if (this.#options.isParallel) this.#input = [...stray, ...this.#input];
    else this.#isOver = true;
  }

  /** Its mark is text; what came after it is looked at again. */
  #giveCallUp(): void {
    const { calls } = this.#options;
    const characters = this.#call?.characters ?? [];
    const markLength = calls?.open.length ?? 0;
    this.#call = null;
    this.#state = 'text';
    this.#input = [...characters.slice(markLength), ...this.#input];
    for (const character of characters.slice(0, markLength)) this.#ordinary(character);
  }

  /** Pieces of one passage are one part. */
  #takeParts(): readonly OutputPart[] {
    const parts: OutputPart[] = [];
    for (const part of this.#parts.splice(0)) {
      const joined = join(parts.at(-1), part);
      if (joined === null) parts.push(part);
      else parts[parts.length - 1] = joined;
    }
    return parts;
  }
}

function join(last: OutputPart | undefined, next: OutputPart): OutputPart | null {
  if (last?.type === 'reasoning' && next.type === 'reasoning')
    return { ...last, text: last.text + next.text };
  if (last?.type === 'text' && next.type === 'text') {
    return { ...last, text: last.text + next.text, end: next.end };
  }
  if (last?.type === 'tool-arguments' && next.type === 'tool-arguments') {
    return last.index === next.index ? { ...last, json: last.json + next.json } : null;
  }
  return null;
}

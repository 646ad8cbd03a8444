import { isSpace, JsonScanner } from './json-scanner.ts';

/** What a piece of a call means. */
export type CallPart =
  { readonly type: 'name'; readonly name: string } | { readonly type: 'arguments'; readonly json: string };

/**
 * `taken`: as part of the call. `done`: the call ended with this character. `ended`: it ended before this character.
 * `no-call`: what came since the mark is no call, this character included.
 */
export type CallStep = 'taken' | 'done' | 'ended' | 'no-call';

/** The usual order, up to where the arguments begin. */
const HEADER = /^\s*\{\s*"name"\s*:\s*"([^"\\]*)"\s*,\s*"arguments"\s*:\s*\{$/;

/**
 * What stands between the marks of a call: `{"name": …, "arguments": {…}}`. Once the name is known and the arguments begin it is a call,
 * and the arguments are handed out as they come; any other order is read when it is complete. Arguments that break off are handed out as far as they
 * came: whoever reads them finds no whole JSON.
 */
export class CallReader {
  readonly parts: CallPart[] = [];
  readonly #scanner = new JsonScanner();
  /** Up to where it is known to be a call. */
  #text = '';
  #state: 'header' | 'arguments' | 'rest' | 'after' = 'header';
  /** How much of the mark at the end came. */
  #closing = '';

  /** @param closeMark ends a call. */
  constructor(
    private readonly toolNames: ReadonlySet<string>,
    private readonly closeMark: string,
  ) {}

  /** Whether it is known to be a call. */
  get isCall(): boolean {
    return this.#state !== 'header';
  }

  push(character: string): CallStep {
    if (this.#state === 'after') return this.#close(character);
    if (!this.#scanner.push(character)) {
      if (this.#state === 'header') return 'no-call';
      this.#state = 'after';
      return this.#close(character);
    }
    switch (this.#state) {
      case 'header':
        return this.#header(character);
      case 'arguments':
        this.parts.push({ type: 'arguments', json: character });
        if (this.#scanner.depth === 1) this.#state = 'rest';
        return 'taken';
      case 'rest':
        if (this.#scanner.isComplete) this.#state = 'after';
        return 'taken';
    }
  }

  #header(character: string): CallStep {
    this.#text += character;
    if (this.#scanner.isComplete) return this.#whole();
    if (character !== '{' || this.#scanner.depth !== 2) return 'taken';
    const name = HEADER.exec(this.#text)?.[1];
    if (name === undefined) return 'taken';
    if (!this.toolNames.has(name)) return 'no-call';
    this.parts.push({ type: 'name', name }, { type: 'arguments', json: character });
    this.#state = 'arguments';
    return 'taken';
  }

  /** In another order, or without arguments. */
  #whole(): CallStep {
    const call = readCall(this.#text);
    if (call === null || !this.toolNames.has(call.name)) return 'no-call';
    this.parts.push({ type: 'name', name: call.name }, { type: 'arguments', json: call.json });
    this.#state = 'after';
    return 'taken';
  }

  /** Models forget the mark at the end; what is there instead is no part of the call. */
  #close(character: string): CallStep {
    if (this.#closing === '' && isSpace(character)) return 'taken';
    this.#closing += character;
    if (this.#closing === this.closeMark) return 'done';
    return this.closeMark.startsWith(this.#closing) ? 'taken' : 'ended';
  }

  /** What came of the end's mark before something else did: text. */
  get strayClosing(): string {
    return this.#closing;
  }
}

function readCall(text: string): { name: string; json: string } | null {
  try {
    const call = JSON.parse(text) as { name?: unknown; arguments?: unknown };
    const { name, arguments: given = {} } = call;
    if (typeof name !== 'string') return null;
    const object = typeof given === 'string' ? (JSON.parse(given) as unknown) : given;
    if (typeof object !== 'object' || object === null || Array.isArray(object)) return null;
    return { name, json: typeof given === 'string' ? given : JSON.stringify(given) };
  } catch {
    // No JSON, or nested too deeply to be written again.
    return null;
  }
}

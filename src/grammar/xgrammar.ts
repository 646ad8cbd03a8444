import type * as Xgrammar from '@mlc-ai/web-xgrammar';
import { SkeinError } from '../protocol/errors.ts';

/** What the package gives. */
export type GrammarLibrary = Pick<
  typeof Xgrammar,
  'Grammar' | 'GrammarCompiler' | 'GrammarMatcher' | 'TokenizerInfo'
>;

/**
 * The library in this thread. What it refuses it ends in the middle of, without clearing its stack: after a failure it is to be
 * loaded again, in another thread, and only its reason is still good.
 */
export interface LoadedXgrammar {
  readonly library: GrammarLibrary;
  /** Memory that it has; never less later. */
  readonly memoryBytes: number;
  /** What it says about what it threw, in its own words. */
  reasonOf(thrown: unknown): string;
}

/** One line of what it writes before it ends: `[FATAL] file:line: reason`. */
const FATAL = /\[FATAL\] \S+?:\d+: (?:Check failed: .*? is false: )?(.*)/s;
/** A message ends with what it is about, which can be long. */
const MAX_REASON_CHARACTERS = 300;

/**
 * Loads the WebAssembly of @mlc-ai/web-xgrammar. For a thread of its own: the package has no exports in an ES module and leaves them
 * in a global, wants CommonJS's `require` in Node, and says its reasons to the console.
 */
export async function loadXgrammar(): Promise<LoadedXgrammar> {
  const lines: string[] = [];
  let exports: WebAssembly.Exports = {};
  const { instantiate } = WebAssembly;
  const { error } = console;
  const withdrawRequire = lendRequire();
  console.error = (...words: readonly unknown[]) => lines.push(words.join(' '));
  WebAssembly.instantiate = (async (bytes: BufferSource, imports: WebAssembly.Imports) => {
    const source = await instantiate(bytes, imports);
    ({ exports } = source.instance);
    return source;
  }) as typeof WebAssembly.instantiate;
  try {
    const imported = (await import('@mlc-ai/web-xgrammar')) as Partial<GrammarLibrary>;
    const library = isWhole(imported) ? imported : inGlobal();
    // Only now it takes its WebAssembly in.
    (await library.Grammar.builtinJSONGrammar()).dispose();
    const memory = Object.values(exports).find((value) => value instanceof WebAssembly.Memory);
    return {
      library,
      get memoryBytes() {
        return memory?.buffer.byteLength ?? 0;
      },
      reasonOf: (thrown) => {
        const written = lines.splice(0).join('\n');
        const reason =
          typeof thrown === 'number'
            ? messageAt(memory, thrown)
            : (FATAL.exec(written)?.[1] ?? String(thrown));
        return (reason.split('\n')[0] ?? '').slice(0, MAX_REASON_CHARACTERS);
      },
    };
  } finally {
    withdrawRequire();
    WebAssembly.instantiate = instantiate;
    console.error = error;
  }
}

function isWhole(library: Partial<GrammarLibrary>): library is GrammarLibrary {
  return library.Grammar !== undefined;
}

function inGlobal(): GrammarLibrary {
  const { xgrammar } = globalThis as { xgrammar?: GrammarLibrary };
  if (xgrammar === undefined) throw new SkeinError('internal', 'The grammar library left no exports.');
  return xgrammar;
}

/** As in a CommonJS module, where this is Node. @returns what takes it away again. */
function lendRequire(): () => void {
  const { process: node } = globalThis as { process?: NodeJS.Process };
  if (node === undefined) return () => undefined;
  const require = node.getBuiltinModule('node:module').createRequire(import.meta.url);
  const lent = { require, __filename: node.getBuiltinModule('node:url').fileURLToPath(import.meta.url) };
  Object.assign(globalThis, lent);
  return () => {
    for (const name of Object.keys(lent)) Reflect.deleteProperty(globalThis, name);
  };
}

/** A C++ exception arrives as its address: a table of functions, and then the address of its message. */
function messageAt(memory: WebAssembly.Memory | undefined, exception: number): string {
  const unknown = 'no reason was given';
  if (memory === undefined || exception + 8 > memory.buffer.byteLength) return unknown;
  const view = new DataView(memory.buffer);
  const start = view.getUint32(exception + 4, true);
  if (start >= memory.buffer.byteLength) return unknown;
  const bytes = new Uint8Array(memory.buffer).subarray(start, start + MAX_REASON_CHARACTERS);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.slice(0, end)) || unknown;
}

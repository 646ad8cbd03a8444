import { closest } from '../closest.ts';

/** What a line that begins with a slash asks for. */
export type SlashCommand =
  | { readonly name: 'help' | 'new' | 'retry' | 'stop' | 'stats' }
  | { readonly name: 'quit' }
  /** Null: show what there is. */
  | { readonly name: 'system' | 'model'; readonly argument: string | null }
  | { readonly name: 'save' | 'load'; readonly file: string }
  | { readonly name: 'temperature' | 'max-tokens'; readonly value: number }
  /** A line that is none, and what to say about it. */
  | { readonly name: 'wrong'; readonly words: string };

export const SLASH_HELP: readonly (readonly [usage: string, words: string])[] = [
  ['/help', 'this list'],
  ['/model [ID]', 'answer with another model; without ID, which there are'],
  ['/system [TEXT]', 'what the model is told before everything else; "/system -" takes it away'],
  ['/new', 'begin a new conversation'],
  ['/retry', 'ask the last question again, in place of its answer'],
  ['/stop', 'Ctrl-C stops an answer; what was written stays'],
  ['/temperature T', '0 is greedy, up to 100'],
  ['/max-tokens N', 'tokens of an answer, at most'],
  ['/save FILE', 'keep the conversation in a file'],
  ['/load FILE', 'go on with one that was kept'],
  ['/stats', 'what was answered so far, how fast, and over which machines'],
  ['/quit', 'end; so do Ctrl-D, and Ctrl-C twice'],
];

const NAMES = SLASH_HELP.map(([usage]) => usage.slice(1).split(' ')[0] ?? '');
const MAX_TEMPERATURE = 100;
const MAX_TOKENS = 0xffff_ffff;

/** @returns null for a line that is a question; of two slashes at its start one is taken away by `questionOf`. */
export function parseSlash(line: string): SlashCommand | null {
  const [, name, rest] = /^\/([^/\s]\S*)\s*(.*)$/s.exec(line.trim()) ?? [];
  if (name === undefined || rest === undefined) return null;
  const argument = rest.trim();
  switch (name) {
    case 'help':
    case 'new':
    case 'retry':
    case 'stop':
    case 'stats':
      return argument === '' ? { name } : wrong(`/${name} takes nothing behind it.`);
    case 'quit':
    case 'exit':
      return { name: 'quit' };
    case 'system':
    case 'model':
      return { name, argument: argument === '' ? null : argument };
    case 'save':
    case 'load':
      return argument === '' ? wrong(`Name a file: /${name} chat.json`) : { name, file: argument };
    case 'temperature':
      return numberIn(name, argument, 0, MAX_TEMPERATURE);
    case 'max-tokens':
      return numberIn(name, argument, 1, MAX_TOKENS);
    default: {
      const meant = closest(name, NAMES);
      return wrong(
        `There is no /${name}. ${meant === null ? '/help lists what there is.' : `Did you mean /${meant}?`}`,
      );
    }
  }
}

/** The text of a line that is no command: `//etc` asks about `/etc`. */
export function questionOf(line: string): string {
  const text = line.trim();
  return text.startsWith('//') ? text.slice(1) : text;
}

function numberIn(name: 'temperature' | 'max-tokens', text: string, min: number, max: number): SlashCommand {
  const value = Number(text);
  const isWhole = name === 'temperature' || Number.isInteger(value);
  if (text !== '' && isWhole && value >= min && value <= max) return { name, value };
  return wrong(`/${name} takes a ${name === 'temperature' ? '' : 'whole '}number from ${min} to ${max}.`);
}

function wrong(words: string): SlashCommand {
  return { name: 'wrong', words };
}

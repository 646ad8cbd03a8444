import type { GenerateEvent, GenerateResult } from '../../client/generate.ts';
import { SkeinError } from '../../protocol/errors.ts';
import type { ChatMessage } from '../../tokenizer/tokenizer.ts';
import { notesOf } from '../answer-notes.ts';
import type { ChatFiles } from './chat-files.ts';
import { answerWords, ChatStats } from './chat-stats.ts';
import { loadConversation, messagesOf, NEW_CONVERSATION, saveConversation } from './conversation.ts';
import type { Conversation } from './conversation.ts';
import { parseSlash, questionOf, SLASH_HELP } from './slash.ts';
import type { SlashCommand } from './slash.ts';

/** What an answer is asked for with; changed while one talks. */
export interface ChatSettings {
  readonly model: string;
  readonly temperature: number;
  readonly maxTokens: number;
}

/** Where a chat is shown. */
export interface ChatScreen {
  /** A piece of an answer, as it comes. */
  write(text: string): void;
  /** An answer is over, complete or not. */
  endAnswer(): void;
  /** Something beside the answers. */
  note(line: string): void;
  /** For programs: an answer with its figures. */
  report(outcome: ChatOutcome): void;
}

export type ChatOutcome =
  | { readonly kind: 'done'; readonly question: string; readonly result: GenerateResult }
  | { readonly kind: 'stopped'; readonly question: string; readonly text: string }
  | { readonly kind: 'failed'; readonly question: string; readonly text: string; readonly error: SkeinError };

export interface ChatDeps {
  answer(
    messages: readonly ChatMessage[],
    settings: ChatSettings,
    signal: AbortSignal,
  ): AsyncIterable<GenerateEvent>;
  /** Names of the models that there are now. */
  readonly models: () => readonly string[];
  readonly files: ChatFiles;
  readonly screen: ChatScreen;
}

/** One conversation over lines: questions are answered in turn, and lines that begin with a slash change how. */
export class ChatLoop {
  readonly #deps: ChatDeps;
  readonly #stats = new ChatStats();
  #settings: ChatSettings;
  #conversation: Conversation = NEW_CONVERSATION;
  /** Of the answer under way. */
  #abort: AbortController | null = null;
  #failures = 0;

  constructor(deps: ChatDeps, settings: ChatSettings, system: string | null = null) {
    this.#deps = deps;
    this.#settings = settings;
    this.#conversation = { system, turns: [] };
  }

  /** Answers that failed. */
  get failures(): number {
    return this.#failures;
  }

  get isAnswering(): boolean {
    return this.#abort !== null;
  }

  /** Ends the answer under way; what was written stays. */
  stop(): void {
    this.#abort?.abort();
  }

  /** @returns false when the person wants to end. */
  async take(line: string): Promise<boolean> {
    if (line.trim() === '') return true;
    const command = parseSlash(line);
    if (command === null) {
      await this.ask(questionOf(line));
      return true;
    }
    if (command.name === 'quit') return false;
    try {
      await this.#obey(command);
    } catch (thrown) {
      this.#deps.screen.note(SkeinError.from(thrown).message);
    }
    return true;
  }

  /** The whole text is the question, whatever it begins with. */
  async ask(question: string): Promise<void> {
    const { screen } = this.#deps;
    const abort = new AbortController();
    this.#abort = abort;
    let text = '';
    try {
      const messages = messagesOf(this.#conversation, question);
      for await (const event of this.#deps.answer(messages, this.#settings, abort.signal)) {
        for (const note of notesOf(event)) screen.note(note);
        if (event.type === 'route') this.#stats.routed(event.route);
        if (event.type === 'token') {
          text += event.text;
          screen.write(event.text);
        }
        if (event.type === 'done') this.#finish(question, event.result);
      }
    } catch (thrown) {
      this.#breakOff(question, text, abort.signal.aborted ? null : SkeinError.from(thrown));
    } finally {
      this.#abort = null;
    }
  }

  #finish(question: string, result: GenerateResult): void {
    const { screen } = this.#deps;
    screen.endAnswer();
    this.#stats.done(result);
    this.#remember(question, result.text);
    screen.note(answerWords(result));
    if (result.finishReason === 'length') {
      screen.note(`Cut at ${result.tokenIds.length} tokens. For more: /max-tokens N, then /retry`);
    }
    screen.report({ kind: 'done', question, result });
  }

  /** @param error null where the person stopped it. */
  #breakOff(question: string, text: string, error: SkeinError | null): void {
    const { screen } = this.#deps;
    screen.endAnswer();
    this.#remember(question, text);
    if (error === null) {
      screen.note('Stopped.');
      screen.report({ kind: 'stopped', question, text });
      return;
    }
    this.#failures += 1;
    screen.note(error.message);
    screen.report({ kind: 'failed', question, text, error });
  }

  #remember(question: string, answer: string): void {
    const { system, turns } = this.#conversation;
    this.#conversation = { system, turns: [...turns, { question, answer }] };
  }

  async #obey(command: Exclude<SlashCommand, { name: 'quit' }>): Promise<void> {
    const { screen } = this.#deps;
    switch (command.name) {
      case 'help':
        for (const [usage, words] of SLASH_HELP) screen.note(`${usage.padEnd(16)}${words}`);
        break;
      case 'new':
        this.#conversation = { ...this.#conversation, turns: [] };
        screen.note('A new conversation.');
        break;
      case 'retry':
        await this.#retry();
        break;
      case 'stop':
        screen.note('Press Ctrl-C while an answer comes.');
        break;
      case 'stats':
        for (const line of this.#stats.lines()) screen.note(line);
        break;
      case 'system':
        this.#setSystem(command.argument);
        break;
      case 'model':
        this.#chooseModel(command.argument);
        break;
      case 'temperature':
        this.#settings = { ...this.#settings, temperature: command.value };
        screen.note(`Temperature ${command.value}.`);
        break;
      case 'max-tokens':
        this.#settings = { ...this.#settings, maxTokens: command.value };
        screen.note(`Answers have ${command.value} tokens at most.`);
        break;
      case 'save':
        await this.#save(command.file);
        break;
      case 'load':
        await this.#load(command.file);
        break;
      case 'wrong':
        screen.note(command.words);
        break;
    }
  }

  async #retry(): Promise<void> {
    const { system, turns } = this.#conversation;
    const last = turns.at(-1);
    if (last === undefined) {
      this.#deps.screen.note('There is no question yet.');
      return;
    }
    this.#conversation = { system, turns: turns.slice(0, -1) };
    await this.ask(last.question);
  }

  #setSystem(text: string | null): void {
    const { screen } = this.#deps;
    if (text === null) {
      const { system } = this.#conversation;
      screen.note(
        system === null ? 'The model is told nothing before the conversation.' : `It is told: ${system}`,
      );
      return;
    }
    this.#conversation = { ...this.#conversation, system: text === '-' ? null : text };
    screen.note(
      text === '-' ? 'The model is told nothing more before the conversation.' : 'From the next question on.',
    );
  }

  #chooseModel(id: string | null): void {
    const { models, screen } = this.#deps;
    const names = models();
    if (id === null) {
      for (const name of names) screen.note(name === this.#settings.model ? `${name} answers` : name);
      return;
    }
    if (!names.includes(id)) {
      screen.note(`There is no model ${id}. There are: ${names.join(', ') || 'none'}.`);
      return;
    }
    this.#settings = { ...this.#settings, model: id };
    screen.note(`${id} answers from now on.`);
  }

  async #save(file: string): Promise<void> {
    const { files, screen } = this.#deps;
    await files.write(file, saveConversation(this.#conversation, this.#settings.model));
    screen.note(`Kept in ${file}.`);
  }

  async #load(file: string): Promise<void> {
    const { files, models, screen } = this.#deps;
    const { conversation, model } = loadConversation(await files.read(file));
    this.#conversation = conversation;
    const hasModel = models().includes(model);
    if (hasModel) this.#settings = { ...this.#settings, model };
    const { length } = conversation.turns;
    const by = hasModel ? model : `${this.#settings.model}, since there is no ${model} here`;
    screen.note(`${length} ${length === 1 ? 'question' : 'questions'} so far; ${by} answers.`);
  }
}

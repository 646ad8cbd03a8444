import type * as Xgrammar from '@mlc-ai/web-xgrammar';
import { constraintError } from '../protocol/constraint.ts';
import { SkeinError } from '../protocol/errors.ts';
import { bitCount, emptyMask, setBit } from '../engine/bit-mask.ts';
import { boundedTag } from './bounded-tag.ts';
import type { GrammarAnswer, GrammarCommand, Vocabulary } from './grammar-messages.ts';
import type { LoadedXgrammar } from './xgrammar.ts';

/** Compiled grammars that are kept for the next who asks the same; each has some hundred KiB to some MiB. */
const MAX_COMPILED = 16;
/** Much more than a grammar of the largest schemas takes; a worker that has more is to be replaced. */
const MAX_MEMORY_BYTES = 512 * 1024 * 1024;

type Compiled = Xgrammar.CompiledGrammar;
type Asked<Type extends GrammarCommand['type']> = Extract<GrammarCommand, { type: Type }>;

interface OpenConstraint {
  readonly matcher: Xgrammar.GrammarMatcher;
  /** u32 [vocab / 32]: tokens that are text, and the stop tokens of the request. */
  readonly samplable: Uint32Array;
}

/** What was thrown by the library, which is then of no use any more. */
class Refusal extends Error {}

/** What the worker of grammars does with what it is asked. One command at a time. */
export class GrammarDesk {
  readonly #xgrammar: LoadedXgrammar;
  readonly #open = new Map<number, OpenConstraint>();
  /** By structural tag; whoever was asked for last is last. */
  readonly #compiled = new Map<string, Compiled>();
  #vocabulary: Vocabulary | null = null;
  #compiler: Xgrammar.GrammarCompiler | null = null;

  constructor(xgrammar: LoadedXgrammar) {
    this.#xgrammar = xgrammar;
  }

  /** @returns null for what is not answered. Never rejects. */
  async perform(command: GrammarCommand): Promise<GrammarAnswer | null> {
    try {
      switch (command.type) {
        case 'vocabulary':
          this.#vocabulary = command.vocabulary;
          return null;
        case 'close':
          this.#open.get(command.constraint)?.matcher.dispose();
          this.#open.delete(command.constraint);
          return null;
        case 'check':
          await this.#check(command);
          return { call: command.call, mask: null };
        case 'open':
          return { call: command.call, mask: await this.#begin(command) };
        case 'accept':
          return { call: command.call, mask: await this.#accept(command) };
      }
    } catch (thrown) {
      if (!('call' in command)) return null;
      const isSpent = thrown instanceof Refusal || this.#xgrammar.memoryBytes > MAX_MEMORY_BYTES;
      const error =
        thrown instanceof Refusal
          ? constraintError(`The answer cannot be constrained so: ${thrown.message}.`)
          : SkeinError.from(thrown);
      return { call: command.call, error: error.toShape(), isSpent };
    }
  }

  async #check({ structuralTag }: Asked<'check'>): Promise<void> {
    const { library } = this.#xgrammar;
    const grammar = await this.#guarded(async () =>
      library.Grammar.fromStructuralTag(await boundedTag(structuralTag, library)),
    );
    grammar.dispose();
  }

  async #begin(command: Asked<'open'>): Promise<Uint32Array<ArrayBuffer> | null> {
    const { constraint, structuralTag, stopTokenIds, answer } = command;
    const { tokens, marks, vocabSize } = this.#knownVocabulary();
    const known = stopTokenIds.filter((id) => id < vocabSize);
    if (known.length === 0) {
      throw constraintError(
        'A constrained answer ends with a stop token, and the request names none that the model has.',
      );
    }
    const compiled = await this.#compile(structuralTag);
    if (this.#xgrammar.memoryBytes > MAX_MEMORY_BYTES) {
      throw constraintError('The grammar of the constraint needs too much memory. Make it smaller.');
    }
    const { GrammarMatcher } = this.#xgrammar.library;
    const matcher = await this.#guarded(() => GrammarMatcher.createGrammarMatcher(compiled, known));
    for (const [index, tokenId] of answer.entries()) {
      if (await this.#takes(matcher, tokenId)) continue;
      matcher.dispose();
      throw constraintError(`Token ${index} of the answer so far does not keep to the constraint.`);
    }
    const samplable = emptyMask(vocabSize);
    const absent = new Set(marks.filter(([, text]) => !structuralTag.includes(text)).map(([id]) => id));
    tokens.forEach((text, id) => text !== '' && !absent.has(id) && setBit(samplable, id));
    for (const id of known) setBit(samplable, id);
    this.#open.set(constraint, { matcher, samplable });
    return this.#maskOf(constraint);
  }

  async #accept({ constraint, tokenId }: Asked<'accept'>): Promise<Uint32Array<ArrayBuffer> | null> {
    if (!(await this.#takes(this.#opened(constraint).matcher, tokenId))) {
      throw new SkeinError('internal', `Token ${tokenId} was sampled, and its mask does not have it.`);
    }
    return this.#maskOf(constraint);
  }

  async #takes(matcher: Xgrammar.GrammarMatcher, tokenId: number): Promise<boolean> {
    if (tokenId >= this.#knownVocabulary().vocabSize) return false;
    return this.#guarded(() => Promise.resolve(matcher.acceptToken(tokenId)));
  }

  /** @throws SkeinError `bad-argument` where nothing may come, before the answer is at its end. */
  async #maskOf(constraint: number): Promise<Uint32Array<ArrayBuffer> | null> {
    const { matcher, samplable } = this.#opened(constraint);
    // Nothing is sampled any more.
    if (matcher.isTerminated()) return null;
    const bits = await this.#guarded(() => matcher.getNextTokenBitmask());
    const mask = Uint32Array.from(samplable, (word, index) => (bits[index] ?? 0) & word);
    if (bitCount(mask) === 0) {
      throw constraintError('The constraint leaves no token to go on with: it cannot be met.');
    }
    const isAnything = bitCount(mask) === this.#knownVocabulary().vocabSize;
    return isAnything ? null : mask;
  }

  async #compile(structuralTag: string): Promise<Compiled> {
    const known = this.#compiled.get(structuralTag);
    this.#compiled.delete(structuralTag);
    const compiler = await this.#ownCompiler();
    const compiled =
      known ??
      (await this.#guarded(async () =>
        compiler.compileStructuralTag(await boundedTag(structuralTag, this.#xgrammar.library)),
      ));
    this.#compiled.set(structuralTag, compiled);
    // Matchers share what they are made of, so that it is free only after the last of them.
    for (const [oldest, old] of this.#compiled) {
      if (this.#compiled.size <= MAX_COMPILED) break;
      this.#compiled.delete(oldest);
      old.dispose();
    }
    return compiled;
  }

  async #ownCompiler(): Promise<Xgrammar.GrammarCompiler> {
    if (this.#compiler !== null) return this.#compiler;
    const { tokens, vocabSize } = this.#knownVocabulary();
    const { TokenizerInfo, GrammarCompiler } = this.#xgrammar.library;
    this.#compiler = await this.#guarded(async () => {
      const info = await TokenizerInfo.createTokenizerInfo([...tokens], 'byte_level', false, vocabSize, []);
      return GrammarCompiler.createGrammarCompiler(info, false);
    });
    return this.#compiler;
  }

  /** What the library throws is told apart from what is thrown here. */
  async #guarded<Result>(use: () => Promise<Result>): Promise<Result> {
    try {
      return await use();
    } catch (thrown) {
      throw new Refusal(this.#xgrammar.reasonOf(thrown), { cause: thrown });
    }
  }

  #opened(constraint: number): OpenConstraint {
    const open = this.#open.get(constraint);
    if (open === undefined) throw new SkeinError('internal', `Constraint ${constraint} is not open.`);
    return open;
  }

  #knownVocabulary(): Vocabulary {
    if (this.#vocabulary === null)
      throw new SkeinError('internal', 'The worker of grammars has no vocabulary.');
    return this.#vocabulary;
  }
}

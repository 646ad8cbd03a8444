import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Vocabulary } from './grammar-messages.ts';

/** The tokens of a model as the worker of grammars takes them. @param vocabSize logits that the model has. */
export function vocabularyOf(tokenizer: Tokenizer, vocabSize: number): Vocabulary {
  const bytes = Array.from({ length: vocabSize }, (_, id) => tokenizer.tokenBytes(id) ?? new Uint8Array(0));
  return {
    tokens: bytes.map(byteCharacters),
    marks: bytes.flatMap((text, id) =>
      tokenizer.isSpecial(id) ? [[id, new TextDecoder().decode(text)] as const] : [],
    ),
    vocabSize,
  };
}

/** Each byte as the character that byte-level tokenizers write it as. */
export function byteCharacters(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => BYTE_CHARACTERS[byte]).join('');
}

/** By byte: as GPT-2 and all after it have it, printable ones as they are, others from 256 on. */
const BYTE_CHARACTERS: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCharCode(isPrintable ? byte : next++);
  });
})();

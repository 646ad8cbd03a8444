import { isJsonObject } from '../model/json.ts';

const SPACE_MARK = '\u2581';
const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;
const utf8 = new TextEncoder();

/** How a vocabulary writes bytes: as characters of their own, as `<0x0A>` where no token has them, or not at all. */
export type TokenSpelling = (token: string) => Uint8Array;

/**
 * The bytes that a token of the vocabulary stands for.
 * @param tokenizerJson tokenizer.json; its decoder tells how tokens are spelled.
 */
export function tokenSpelling(tokenizerJson: unknown): TokenSpelling {
  const decoder = isJsonObject(tokenizerJson) ? tokenizerJson['decoder'] : undefined;
  const types = decoderTypes(decoder);
  if (types.has('ByteLevel')) return byteLevelBytes;
  const hasSpaceMark = types.has('Metaspace') || types.has('Replace');
  const hasByteTokens = types.has('ByteFallback');
  return (token) => {
    const byte = hasByteTokens ? BYTE_TOKEN.exec(token)?.[1] : undefined;
    if (byte !== undefined) return Uint8Array.of(parseInt(byte, 16));
    return utf8.encode(hasSpaceMark ? token.replaceAll(SPACE_MARK, ' ') : token);
  };
}

/** Of a decoder and those in it. */
function decoderTypes(decoder: unknown): Set<string> {
  const types = new Set<string>();
  const open = [decoder];
  for (const one of open) {
    if (!isJsonObject(one)) continue;
    if (typeof one['type'] === 'string') types.add(one['type']);
    if (Array.isArray(one['decoders'])) open.push(...(one['decoders'] as unknown[]));
  }
  return types;
}

/** A character of no byte is spelled as itself, as in tokens that were added. */
function byteLevelBytes(token: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = BYTE_OF_CHARACTER.get(character);
    if (byte === undefined) bytes.push(...utf8.encode(character));
    else bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

/** As GPT-2 has it: printable bytes are themselves, the others are characters from U+0100 on, in order. */
const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = byteCharacters();

function byteCharacters(): Map<string, number> {
  const characters = new Map<string, number>();
  let shifted = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    characters.set(String.fromCharCode(isPrintable ? byte : shifted++), byte);
  }
  return characters;
}

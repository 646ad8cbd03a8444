/** The bytes as little-endian words; a copy when they begin at an odd address. */
export function asWords(bytes: Uint8Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const aligned = bytes.byteOffset % Uint32Array.BYTES_PER_ELEMENT === 0 ? bytes : bytes.slice();
  return new Uint32Array(
    aligned.buffer,
    aligned.byteOffset,
    aligned.byteLength / Uint32Array.BYTES_PER_ELEMENT,
  );
}

/** From a word of 8 nibbles, least significant first, to one of the internal layout: elements 0 to 3 low, 4 to 7 high. */
export function interleaveNibbles(word: number): number {
  return spread(word & 0xffff) | (spread(word >>> 16) << 4);
}

/** The nibbles of 16 bits, each at the bottom of a byte. */
function spread(bits: number): number {
  const pairs = (bits | (bits << 8)) & 0x00ff_00ff;
  return (pairs | (pairs << 4)) & 0x0f0f_0f0f;
}

/** Rows of the target written at a time: the words they come from stay in the cache. */
const TILE_ROWS = 16;

/** @param words [rows, columns], row-major. @param map of each word. @returns [columns, rows]. */
export function transposeWords(
  words: Uint32Array,
  [rows, columns]: readonly [number, number],
  map: (word: number) => number,
): Uint32Array<ArrayBuffer> {
  const target = new Uint32Array(rows * columns);
  for (let firstColumn = 0; firstColumn < columns; firstColumn += TILE_ROWS) {
    const endColumn = Math.min(columns, firstColumn + TILE_ROWS);
    for (let row = 0; row < rows; row++) {
      for (let column = firstColumn; column < endColumn; column++) {
        target[column * rows + row] = map(words[row * columns + column] ?? 0);
      }
    }
  }
  return target;
}

/** Unsigned integers of `bits` (4 or 8) out of words, least significant first. */
export function unpackWords(words: Uint32Array, bits: number): Uint8Array<ArrayBuffer> {
  const perWord = 32 / bits;
  const mask = 2 ** bits - 1;
  const values = new Uint8Array(words.length * perWord);
  for (let word = 0; word < words.length; word++) {
    for (let i = 0; i < perWord; i++) values[word * perWord + i] = ((words[word] ?? 0) >>> (i * bits)) & mask;
  }
  return values;
}

/** The words' bytes. */
export function bytesOf(
  array: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>,
) {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

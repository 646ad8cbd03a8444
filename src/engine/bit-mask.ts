const WORD_BITS = 32;

/** u32 [size / 32], rounded up; no bit is set. */
export function emptyMask(size: number): Uint32Array<ArrayBuffer> {
  return new Uint32Array(Math.ceil(size / WORD_BITS));
}

export function setBit(mask: Uint32Array, index: number): void {
  mask[index >>> 5] = (mask[index >>> 5] ?? 0) | (1 << (index & 31));
}

export function hasBit(mask: Uint32Array, index: number): boolean {
  return (((mask[index >>> 5] ?? 0) >>> (index & 31)) & 1) === 1;
}

/** How many bits are set. */
export function bitCount(mask: Uint32Array): number {
  let count = 0;
  for (const word of mask) {
    const pairs = word - ((word >>> 1) & 0x5555_5555);
    const quads = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
    count += Math.imul((quads + (quads >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
  }
  return count;
}

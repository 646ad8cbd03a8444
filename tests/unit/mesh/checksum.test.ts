import { crc32 as reference } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from '../../../src/mesh/checksum.ts';

describe('the checksum', () => {
  it('is that of zip, in one piece and in several, wherever the bytes lie', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), fc.nat(7), (bytes, cut, offset) => {
        const shifted = new Uint8Array(offset + bytes.length).subarray(offset);
        shifted.set(bytes);
        expect(crc32(shifted)).toBe(reference(bytes));
        expect(crc32(shifted.subarray(cut), crc32(shifted.subarray(0, cut)))).toBe(reference(bytes));
      }),
    );
  });

  it('of "123456789" is the one that every table of checksums names', () => {
    expect(crc32(new TextEncoder().encode('123456789')).toString(16)).toBe('cbf43926');
  });
});

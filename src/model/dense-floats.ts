import { floatsFromHalves } from '../protocol/half.ts';
import { BYTES_PER_ELEMENT } from './checkpoint.ts';
import type { DenseTensor } from './checkpoint.ts';

/** The values of a tensor, exactly. Shares its memory where it is f32 already. */
export function denseFloats({
  format,
  bytes,
}: Pick<DenseTensor, 'format' | 'bytes'>): Float32Array<ArrayBuffer> {
  // A tensor may begin anywhere in the buffer it was read into.
  const aligned = bytes.byteOffset % Float32Array.BYTES_PER_ELEMENT === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset } = aligned;
  const length = bytes.byteLength / BYTES_PER_ELEMENT[format];
  switch (format) {
    case 'f32':
      return new Float32Array(buffer, byteOffset, length);
    case 'f16':
      return floatsFromHalves(new Uint16Array(buffer, byteOffset, length));
    case 'bf16': {
      const words = Uint32Array.from(new Uint16Array(buffer, byteOffset, length), (half) => half << 16);
      return new Float32Array(words.buffer);
    }
  }
}

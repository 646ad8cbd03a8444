import { SkeinError } from '../protocol/errors.ts';

/** @throws SkeinError `out-of-memory` instead of the platform's RangeError. */
export function allocateBytes(sizeBytes: number, file: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(sizeBytes);
  } catch (cause) {
    throw new SkeinError(
      'out-of-memory',
      `There is no memory for ${sizeBytes} bytes of ${file}. Hold fewer layers, or choose a smaller model.`,
      { data: { file, sizeBytes }, cause },
    );
  }
}

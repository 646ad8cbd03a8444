import { SkeinError } from '../../protocol/errors.ts';

/** @throws SkeinError `bad-argument` unless `value` is an integer in `[min, max]` and a multiple of `multipleOf`. */
export function checkSize(
  kernel: string,
  name: string,
  value: number,
  { min = 1, max = 0xffff_ffff, multipleOf = 1 }: { min?: number; max?: number; multipleOf?: number } = {},
): void {
  if (Number.isInteger(value) && value >= min && value <= max && value % multipleOf === 0) return;
  const multiple = multipleOf === 1 ? '' : ` and a multiple of ${multipleOf}`;
  throw new SkeinError(
    'bad-argument',
    `Kernel ${kernel}: ${name} is ${value}; it must be an integer from ${min} to ${max}${multiple}.`,
    { data: { kernel, name, value } },
  );
}

/**
 * GPUs clamp an access past the end of a buffer to something inside it: a wrong answer, not an error. So a step is held
 * against its buffers before it is encoded.
 * @throws SkeinError `bad-argument` when `buffer` is missing or smaller than `neededBytes`.
 */
export function checkBytes(
  kernel: string,
  name: string,
  buffer: GPUBuffer | null,
  neededBytes: number,
): asserts buffer is GPUBuffer {
  if (buffer === null) {
    throw new SkeinError('bad-argument', `Kernel ${kernel}: ${name} is missing.`, { data: { kernel, name } });
  }
  if (buffer.size >= neededBytes) return;
  throw new SkeinError(
    'bad-argument',
    `Kernel ${kernel}: ${name} has ${buffer.size} bytes and this needs ${neededBytes}.`,
    { data: { kernel, name, sizeBytes: buffer.size, neededBytes } },
  );
}

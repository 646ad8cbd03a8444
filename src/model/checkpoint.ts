import type { Architecture } from './architecture.ts';
import type { QuantizedMatrix } from './quantized.ts';

export type TensorFormat = 'f32' | 'f16' | 'bf16';

export const BYTES_PER_ELEMENT: Readonly<Record<TensorFormat, number>> = { f32: 4, f16: 2, bf16: 2 };

/** A weight of floats: row-major, little-endian. Ownership of `bytes` passes to the receiver. */
export interface DenseTensor {
  readonly kind: 'dense';
  readonly name: string;
  readonly format: TensorFormat;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What a checkpoint holds under one name. Only matrices are ever quantised; norms and biases are floats. */
export type Tensor = DenseTensor | QuantizedMatrix;

/**
 * A model folder whose config was read and checked. File headers are read and checked when the first tensor of the file is
 * asked for, weights one tensor at a time: a tab that holds three layers never touches the files of the others.
 */
export interface Checkpoint {
  readonly architecture: Architecture;
  /** How its matrices are quantised, for people (`GPTQ 4-bit`); null when all of it is floats. */
  readonly quantization: string | null;
  has(name: string): boolean;
  /**
   * Bytes of the tensor as `read` gives it, scales and all: what a slice that holds it takes. Reads the header of the file that
   * holds it, the first time.
   * @throws SkeinError `model-missing` when the checkpoint lacks it.
   */
  sizeBytes(name: string, signal?: AbortSignal): Promise<number>;
  /**
   * @param shape what the architecture expects.
   * @throws SkeinError naming the file and the tensor: `model-missing`, `model-unsupported` for a dtype nobody reads, `model-corrupt`.
   */
  read(name: string, shape: readonly number[], signal?: AbortSignal): Promise<Tensor>;
}

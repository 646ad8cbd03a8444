import { SkeinError } from '../../protocol/errors.ts';
import type { Tensor } from '../checkpoint.ts';

/** A tensor that a quantised matrix is made of, as it must be in the file. */
export interface PartSpec {
  /** After the name of the module, for example `.qweight`. */
  readonly suffix: string;
  readonly dtypes: readonly string[];
  readonly shape: readonly number[];
  readonly isOptional?: boolean;
}

/** A part that was read: its shape and dtype are among those of its `PartSpec`. */
export interface Part {
  readonly dtype: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export type Parts = ReadonlyMap<string, Part>;

/** [rows, columns], as the engine wants the matrix: [out, in]. */
export type MatrixShape = readonly [rows: number, columns: number];

export interface StoredMatrix {
  readonly name: string;
  readonly shape: MatrixShape;
  /** For messages: the file that holds the codes. */
  readonly file: string;
  readonly parts: Parts;
}

/** A part that is not optional. */
export function requiredPart({ name, parts }: StoredMatrix, suffix: string): Part {
  const part = parts.get(suffix);
  if (part) return part;
  throw new SkeinError('internal', `${name} was repacked without its ${suffix}.`);
}

/** A way in which safetensors checkpoints store quantised matrices: which tensors make one, and how they become `QuantizedMatrix`. */
export interface StoredFormat {
  /** For people, for example `GPTQ 4-bit`. */
  readonly label: string;
  /** Suffix of the tensor that only quantised modules have. */
  readonly marker: string;
  /** Suffix of the tensor whose shape tells the matrix's. */
  readonly codes: string;
  /** Suffix of the tensor of scales. */
  readonly scales: string;
  /** @returns null for a shape that is no such tensor's. @param stem name of the module. */
  shapeOf(codesShape: readonly number[], stem: string): MatrixShape | null;
  /** @returns what is wrong with the shape for this format, or null. */
  refusal(shape: MatrixShape, stem: string): string | null;
  parts(shape: MatrixShape, stem: string): readonly PartSpec[];
  /** Bytes of the matrix once read: codes and scales, or floats. */
  loadedBytes(shape: MatrixShape, scalesDtype: string, stem: string): number;
  repack(stored: StoredMatrix, stem: string): Tensor;
}

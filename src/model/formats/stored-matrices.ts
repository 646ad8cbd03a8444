import { SkeinError } from '../../protocol/errors.ts';
import type { Tensor } from '../checkpoint.ts';
import { describeFile } from '../model-path.ts';
import type { LocatedTensor, WeightFiles } from '../weight-files.ts';
import type { MatrixShape, Part, PartSpec, StoredFormat } from './stored-format.ts';

const WEIGHT = '.weight';
/** Bytes per element of the dtypes that parts have. */
const DTYPE_BYTES: ReadonlyMap<string, number> = new Map([
  ['I32', 4],
  ['U32', 4],
  ['F32', 4],
  ['F16', 2],
  ['BF16', 2],
  ['F8_E4M3', 1],
]);

/** The quantised matrices of a checkpoint: found by the tensors that only they have, read by the ranges of their parts. */
export class StoredMatrices {
  constructor(
    readonly format: StoredFormat,
    private readonly files: WeightFiles,
  ) {}

  /** @param name of the matrix, as an unquantised checkpoint would call it. */
  holds(name: string): boolean {
    const stem = stemOf(name);
    return stem !== null && this.files.pathByTensor.has(stem + this.format.marker);
  }

  /** Bytes of the matrix once read. @throws SkeinError like `read`. */
  async sizeBytes(name: string, signal?: AbortSignal): Promise<number> {
    const stem = stemOf(name) ?? '';
    const codes = await this.files.locate(stem + this.format.codes, signal);
    const shape = this.format.shapeOf(codes.shape, stem);
    if (shape === null || codes.shape.length !== 2) {
      throw this.#corrupt(codes, name, `has shape [${codes.shape.join(', ')}] and is no matrix`);
    }
    this.#refuse(codes, name, shape, stem);
    const scales = await this.files.locate(stem + this.format.scales, signal);
    return this.format.loadedBytes(shape, scales.dtype, stem);
  }

  /** @throws SkeinError naming file and tensor: `model-missing`, `model-corrupt`, or `model-unsupported` for a size the layout cannot hold. */
  async read(name: string, shape: readonly number[], signal?: AbortSignal): Promise<Tensor> {
    const stem = stemOf(name) ?? '';
    const [rows, columns] = shape;
    const codes = await this.files.locate(stem + this.format.codes, signal);
    if (rows === undefined || columns === undefined || shape.length !== 2) {
      throw this.#corrupt(codes, name, `is quantised, where a tensor [${shape.join(', ')}] is called for`);
    }
    const matrix: MatrixShape = [rows, columns];
    const file = describeFile(this.files.source, codes.path);
    this.#refuse(codes, name, matrix, stem);
    const located = await this.#locate(stem, this.format.parts(matrix, stem), signal);
    const parts = new Map<string, Part>();
    for (const [suffix, part] of located) {
      const bytes = await this.files.source.read(part.path, part.start, part.end, signal);
      parts.set(suffix, { dtype: part.dtype, bytes });
    }
    return this.format.repack({ name, shape: matrix, file, parts }, stem);
  }

  #refuse({ path }: LocatedTensor, tensor: string, shape: MatrixShape, stem: string): void {
    const refusal = this.format.refusal(shape, stem);
    if (refusal === null) return;
    const file = describeFile(this.files.source, path);
    throw new SkeinError(
      'model-unsupported',
      `${file}: tensor "${tensor}" cannot be read as ${this.format.label}: ${refusal}. Choose another version of the model.`,
      { data: { file, tensor } },
    );
  }

  /** Looks at every part before any is read. */
  async #locate(
    stem: string,
    specs: readonly PartSpec[],
    signal?: AbortSignal,
  ): Promise<Map<string, LocatedTensor>> {
    const located = new Map<string, LocatedTensor>();
    for (const spec of specs) {
      const name = stem + spec.suffix;
      if (spec.isOptional === true && !this.files.pathByTensor.has(name)) continue;
      const part = await this.files.locate(name, signal);
      this.#check(part, name, spec);
      located.set(spec.suffix, part);
    }
    return located;
  }

  #check(part: LocatedTensor, name: string, { dtypes, shape }: PartSpec): void {
    if (!dtypes.includes(part.dtype)) {
      throw this.#corrupt(
        part,
        name,
        `has dtype ${part.dtype} where ${this.format.label} has ${dtypes.join(' or ')}`,
      );
    }
    if (part.shape.length !== shape.length || part.shape.some((extent, axis) => extent !== shape[axis])) {
      throw this.#corrupt(
        part,
        name,
        `has shape [${part.shape.join(', ')}] where config.json and ${this.format.label} call for [${shape.join(', ')}]`,
      );
    }
    const expected = shape.reduce((product, extent) => product * extent, DTYPE_BYTES.get(part.dtype) ?? NaN);
    if (part.end - part.start !== expected) {
      throw this.#corrupt(
        part,
        name,
        `has ${part.end - part.start} bytes where its shape and dtype take ${expected}`,
      );
    }
  }

  #corrupt({ path }: LocatedTensor, tensor: string, problem: string): SkeinError {
    const file = describeFile(this.files.source, path);
    return new SkeinError(
      'model-corrupt',
      `${file}: tensor "${tensor}" ${problem}. Download the model again.`,
      {
        data: { file, tensor },
      },
    );
  }
}

/** The module that a weight belongs to; null for other tensors. */
function stemOf(name: string): string | null {
  return name.endsWith(WEIGHT) ? name.slice(0, -WEIGHT.length) : null;
}

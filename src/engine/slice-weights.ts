import { denseFloats } from '../model/dense-floats.ts';
import type { Checkpoint, Tensor } from '../model/checkpoint.ts';
import { dequantize } from '../model/quantized.ts';
import type { TensorSpec } from '../model/tensor-names.ts';
import { SkeinError } from '../protocol/errors.ts';
import { halvesFromFloats } from '../protocol/half.ts';
import type { GpuMemory } from './gpu-memory.ts';
import { OCTET, weightBytes, weightScaleBytes } from './kernels/weights.ts';
import type { WeightBuffers, WeightShape } from './kernels/weights.ts';
import { isSameFormat } from './weight-format.ts';
import type { MatrixFormat, Precision } from './weight-format.ts';

/** Rows of a matrix on the GPU that are stored alike and fit a binding. */
export interface MatrixPart extends WeightShape, WeightBuffers {
  /** Column of the output that its first row computes. */
  readonly firstColumn: number;
}

/** A matrix [outFeatures, inFeatures] on the GPU, in as many parts as its formats and the binding limit make of it. */
export interface Matrix {
  /** Columns of the output. */
  readonly columns: number;
  readonly parts: readonly MatrixPart[];
}

export interface WeightLoaderOptions {
  readonly checkpoint: Checkpoint;
  readonly memory: GpuMemory;
  readonly precision: Precision;
  readonly signal?: AbortSignal;
  readonly onBytes: (sizeBytes: number) => void;
}

/** A matrix of the checkpoint, as the kernels read it. */
interface StoredMatrix {
  readonly name: string;
  readonly format: MatrixFormat;
  readonly rows: number;
  readonly inFeatures: number;
  /** Floats or codes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Empty for floats. */
  readonly scales: Uint8Array<ArrayBuffer>;
}

/** Rows [start, end) of a matrix. */
interface RowRange {
  readonly matrix: StoredMatrix;
  readonly start: number;
  readonly end: number;
}

/** Moves tensors from the checkpoint to the GPU one joined matrix at a time, so that no more than that is ever in memory. */
export class WeightLoader {
  readonly #options: WeightLoaderOptions;
  readonly #formats = new Set<MatrixFormat>();

  constructor(options: WeightLoaderOptions) {
    this.#options = options;
  }

  /** Of the matrices on the GPU so far. */
  get formats(): ReadonlySet<MatrixFormat> {
    return this.#formats;
  }

  /** Stacks tensors [rows, inFeatures] on top of each other. What is stored alike becomes one part, and one dispatch. */
  async matrix(specs: readonly TensorSpec[]): Promise<Matrix> {
    const runs: StoredMatrix[][] = [];
    for (const spec of specs) {
      const matrix = await this.#readMatrix(spec);
      const run = runs.at(-1);
      if (run?.[0] !== undefined && isSameFormat(run[0].format, matrix.format)) run.push(matrix);
      else runs.push([matrix]);
    }
    const parts: MatrixPart[] = [];
    let columns = 0;
    for (const run of runs) {
      const rows = run.reduce((sum, matrix) => sum + matrix.rows, 0);
      for (const [start, end] of this.#cut(run, rows, 1)) {
        parts.push(this.#upload(rowsBetween(run, start, end), columns + start));
      }
      columns += rows;
    }
    await this.#settle();
    return { columns, parts };
  }

  /** Gate on top of up, for the `swiglu` epilogue: a part has the rows of both that belong together. */
  async gatedMatrix(gateSpec: TensorSpec, upSpec: TensorSpec): Promise<Matrix> {
    let gate = await this.#readMatrix(gateSpec);
    let up = await this.#readMatrix(upSpec);
    if (!isSameFormat(gate.format, up.format)) [gate, up] = [this.#asFloats(gate), this.#asFloats(up)];
    const parts = this.#cut([gate], gate.rows, 2).map(([start, end]) =>
      this.#upload(
        [
          { matrix: gate, start, end },
          { matrix: up, start, end },
        ],
        start,
      ),
    );
    await this.#settle();
    return { columns: gate.rows, parts };
  }

  /** Tensors [n] one after the other, as f32: norm weights and biases are small and used at full precision. */
  async vector(specs: readonly TensorSpec[]): Promise<GPUBuffer> {
    const { memory } = this.#options;
    const length = specs.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
    const buffer = memory.storage(specs[0]?.name ?? 'vector', length * Float32Array.BYTES_PER_ELEMENT);
    let offsetBytes = 0;
    for (const spec of specs) {
      const tensor = await this.#read(spec);
      const values = tensor.kind === 'dense' ? denseFloats(tensor) : dequantize(tensor);
      memory.device.queue.writeBuffer(buffer, offsetBytes, values);
      offsetBytes += values.byteLength;
    }
    return buffer;
  }

  async #read({ name, shape }: TensorSpec): Promise<Tensor> {
    const { checkpoint, signal, onBytes } = this.#options;
    const tensor = await checkpoint.read(name, shape, signal);
    onBytes(
      tensor.kind === 'dense' ? tensor.bytes.byteLength : tensor.codes.byteLength + tensor.scales.byteLength,
    );
    return tensor;
  }

  async #readMatrix(spec: TensorSpec): Promise<StoredMatrix> {
    const { name } = spec;
    const [rows = 0, inFeatures = 0] = spec.shape;
    const tensor = await this.#read(spec);
    if (tensor.kind === 'quantized') {
      const { format, codes, scales } = tensor;
      checkGroups(name, inFeatures, format.groupSize);
      return { name, format, rows, inFeatures, bytes: codes, scales };
    }
    if (tensor.format === 'f32') return this.#floats(name, rows, inFeatures, denseFloats(tensor));
    const { format, bytes } = tensor;
    return { name, format, rows, inFeatures, bytes, scales: new Uint8Array() };
  }

  /** Values that a checkpoint has in four bytes, at the slice's precision. */
  #floats(name: string, rows: number, inFeatures: number, values: Float32Array<ArrayBuffer>): StoredMatrix {
    const scales = new Uint8Array();
    if (this.#options.precision === 'f32') {
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      return { name, format: 'f32', rows, inFeatures, bytes, scales };
    }
    const halves = halvesFromFloats(values);
    return { name, format: 'f16', rows, inFeatures, bytes: new Uint8Array(halves.buffer), scales };
  }

  #asFloats({ name, format, rows, inFeatures, bytes, scales }: StoredMatrix): StoredMatrix {
    const values =
      typeof format === 'string'
        ? denseFloats({ format, bytes })
        : dequantize({
            kind: 'quantized',
            name,
            format,
            shape: [rows, inFeatures],
            codes: bytes,
            scales,
          });
    return this.#floats(name, rows, inFeatures, values);
  }

  /** Row ranges [start, end) of a run of matrices such that `copies` of each fit one binding. */
  #cut([first]: readonly StoredMatrix[], rows: number, copies: number): (readonly [number, number])[] {
    if (first === undefined) return [];
    const { maxStorageBufferBindingSize: limitBytes } = this.#options.memory.device.limits;
    const row = { format: first.format, inFeatures: first.inFeatures, outFeatures: copies };
    const partRows = Math.floor(limitBytes / Math.max(weightBytes(row), weightScaleBytes(row)));
    const ranges: (readonly [number, number])[] = [];
    for (let start = 0; start < rows; start += partRows) {
      ranges.push([start, Math.min(start + partRows, rows)]);
    }
    return ranges;
  }

  /** Row ranges of matrices that are stored alike, one after the other. */
  #upload(ranges: readonly RowRange[], firstColumn: number): MatrixPart {
    const { memory } = this.#options;
    const [first] = ranges;
    if (first === undefined) throw new SkeinError('internal', 'A matrix was made of no tensors.');
    const { name, format, inFeatures } = first.matrix;
    const outFeatures = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
    const shape: WeightShape = { format, inFeatures, outFeatures };
    this.#formats.add(format);
    const weights = memory.storage(name, weightBytes(shape));
    let offsetBytes = 0;
    for (const range of ranges) {
      const rows = rowBytes(range, range.matrix.bytes);
      memory.device.queue.writeBuffer(weights, offsetBytes, rows);
      offsetBytes += rows.byteLength;
    }
    return { ...shape, weights, scales: this.#uploadScales(ranges, shape, name), firstColumn };
  }

  #uploadScales(ranges: readonly RowRange[], shape: WeightShape, name: string): GPUBuffer | null {
    const { memory } = this.#options;
    const sizeBytes = weightScaleBytes(shape);
    if (sizeBytes === 0) return null;
    const buffer = memory.storage(`${name} scales`, sizeBytes);
    // Rows of f16 scales need not end at a word, and what is written to a buffer must.
    const joined = new Uint8Array(Math.ceil(sizeBytes / 4) * 4);
    let offsetBytes = 0;
    for (const range of ranges) {
      const rows = rowBytes(range, range.matrix.scales);
      joined.set(rows, offsetBytes);
      offsetBytes += rows.byteLength;
    }
    memory.device.queue.writeBuffer(buffer, 0, joined);
    return buffer;
  }

  /** What is written waits in staging memory until a submit: without one after every matrix that would be the whole slice again. */
  async #settle(): Promise<void> {
    const { memory } = this.#options;
    memory.device.queue.submit([]);
    await memory.device.queue.onSubmittedWorkDone();
    await memory.allocated();
  }
}

/** @throws SkeinError `model-unsupported` for groups that the kernels, which read eight elements at a time, do not take. */
function checkGroups(name: string, inFeatures: number, groupSize: number): void {
  if (groupSize % OCTET === 0 && inFeatures % groupSize === 0) return;
  throw new SkeinError(
    'model-unsupported',
    `${name} has rows of ${inFeatures} in groups of ${groupSize}; the kernels take groups of a multiple of ${OCTET} that divide the row.`,
    { data: { tensor: name, inFeatures, groupSize } },
  );
}

/** Rows [start, end) of matrices on top of each other. */
function rowsBetween(run: readonly StoredMatrix[], start: number, end: number): RowRange[] {
  const ranges: RowRange[] = [];
  let firstRow = 0;
  for (const matrix of run) {
    const from = Math.max(start - firstRow, 0);
    const to = Math.min(end - firstRow, matrix.rows);
    if (from < to) ranges.push({ matrix, start: from, end: to });
    firstRow += matrix.rows;
  }
  return ranges;
}

/** @param bytes the matrix's weights or scales. */
function rowBytes({ matrix, start, end }: RowRange, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const bytesPerRow = bytes.byteLength / matrix.rows;
  return bytes.subarray(start * bytesPerRow, end * bytesPerRow);
}

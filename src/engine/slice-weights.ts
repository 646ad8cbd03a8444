import { BYTES_PER_ELEMENT } from '../model/checkpoint.ts';
import type { Checkpoint, DenseTensor, TensorFormat } from '../model/checkpoint.ts';
import type { TensorSpec } from '../model/tensor-names.ts';
import { SkeinError } from '../protocol/errors.ts';
import { floatsFromHalves, writeHalves } from '../protocol/half.ts';
import type { GpuMemory } from './gpu-memory.ts';
import type { Precision } from './weight-format.ts';

/** Rows [firstRow, firstRow + rowCount) of a matrix. */
export interface MatrixPart {
  readonly buffer: GPUBuffer;
  readonly firstRow: number;
  readonly rowCount: number;
}

/** A matrix [outFeatures, inFeatures] on the GPU, in as many parts as the binding limit makes of it. */
export interface Matrix {
  readonly format: TensorFormat;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly parts: readonly MatrixPart[];
}

export interface WeightLoaderOptions {
  readonly checkpoint: Checkpoint;
  readonly memory: GpuMemory;
  readonly precision: Precision;
  readonly signal?: AbortSignal;
  readonly onBytes: (sizeBytes: number) => void;
}

/** Moves tensors from the checkpoint to the GPU one at a time, so that no more than one of them is ever in memory. */
export class WeightLoader {
  readonly #options: WeightLoaderOptions;

  constructor(options: WeightLoaderOptions) {
    this.#options = options;
  }

  /** Stacks tensors [rows, inFeatures] on top of each other. They are stored alike, as one model's projections are. */
  async matrix(specs: readonly TensorSpec[]): Promise<Matrix> {
    const { memory } = this.#options;
    const inFeatures = specs[0]?.shape[1] ?? 0;
    const outFeatures = specs.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
    let matrix: Matrix | null = null;
    let firstRow = 0;
    for (const spec of specs) {
      const tensor = this.#narrow(await this.#read(spec));
      matrix ??= {
        format: tensor.format,
        inFeatures,
        outFeatures,
        parts: allocateParts(memory, spec.name, outFeatures, inFeatures * BYTES_PER_ELEMENT[tensor.format]),
      };
      if (tensor.format !== matrix.format) {
        throw new SkeinError(
          'model-unsupported',
          `${spec.name} is stored as ${tensor.format} and ${specs[0]?.name} as ${matrix.format}; a layer's joined projections must be stored alike.`,
        );
      }
      writeRows(memory.device, matrix, firstRow, tensor.bytes);
      firstRow += spec.shape[0] ?? 0;
    }
    if (matrix === null) throw new SkeinError('internal', 'A matrix was made of no tensors.');
    // What is written waits in staging memory until a submit: without one after every matrix that would be the whole slice again.
    memory.device.queue.submit([]);
    await memory.device.queue.onSubmittedWorkDone();
    await memory.allocated();
    return matrix;
  }

  /** Tensors [n] one after the other, as f32: norm weights and biases are small and used at full precision. */
  async vector(specs: readonly TensorSpec[]): Promise<GPUBuffer> {
    const { memory } = this.#options;
    const length = specs.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
    const buffer = memory.storage(specs[0]?.name ?? 'vector', length * Float32Array.BYTES_PER_ELEMENT);
    let offsetBytes = 0;
    for (const spec of specs) {
      const values = widen(await this.#read(spec));
      memory.device.queue.writeBuffer(buffer, offsetBytes, values);
      offsetBytes += values.byteLength;
    }
    return buffer;
  }

  async #read({ name, shape }: TensorSpec): Promise<DenseTensor> {
    const { checkpoint, signal, onBytes } = this.#options;
    const tensor = await checkpoint.read(name, shape, signal);
    if (tensor.kind === 'quantized') {
      throw new SkeinError(
        'model-unsupported',
        `${name} is quantised (${tensor.format.codes}); the engine reads floats.`,
      );
    }
    onBytes(tensor.bytes.byteLength);
    return tensor;
  }

  #narrow(tensor: DenseTensor): DenseTensor {
    if (this.#options.precision === 'f32' || tensor.format !== 'f32') return tensor;
    const values = widen(tensor);
    const halves = new Uint16Array(values.length);
    writeHalves(values, halves);
    return { ...tensor, format: 'f16', bytes: new Uint8Array(halves.buffer) };
  }
}

function allocateParts(memory: GpuMemory, label: string, rows: number, rowBytes: number): MatrixPart[] {
  const partRows = Math.floor(memory.device.limits.maxStorageBufferBindingSize / rowBytes);
  const parts: MatrixPart[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += partRows) {
    const rowCount = Math.min(partRows, rows - firstRow);
    parts.push({ buffer: memory.storage(label, rowCount * rowBytes), firstRow, rowCount });
  }
  return parts;
}

function writeRows(device: GPUDevice, matrix: Matrix, firstRow: number, bytes: Uint8Array): void {
  const rowBytes = matrix.inFeatures * BYTES_PER_ELEMENT[matrix.format];
  const endRow = firstRow + bytes.byteLength / rowBytes;
  for (const part of matrix.parts) {
    const from = Math.max(firstRow, part.firstRow);
    const to = Math.min(endRow, part.firstRow + part.rowCount);
    if (from >= to) continue;
    const rows = bytes.subarray((from - firstRow) * rowBytes, (to - firstRow) * rowBytes);
    device.queue.writeBuffer(part.buffer, (from - part.firstRow) * rowBytes, rows);
  }
}

function widen({ format, bytes }: DenseTensor): Float32Array<ArrayBuffer> {
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

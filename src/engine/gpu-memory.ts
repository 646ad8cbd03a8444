import { SkeinError } from '../protocol/errors.ts';

const ALIGNMENT_BYTES = 16;

/** Owns the buffers of a slice. Running out of memory is an error with sizes, never a crash, and frees what was taken. */
export class GpuMemory {
  readonly #buffers: GPUBuffer[] = [];
  readonly #outcomes: Promise<GPUError | null>[] = [];
  #sizeBytes = 0;

  constructor(readonly device: GPUDevice) {}

  /** Bytes allocated so far. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** A zeroed storage buffer; kernels and the CPU may write it. */
  storage(label: string, sizeBytes: number): GPUBuffer {
    return this.#create(
      label,
      sizeBytes,
      GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
    );
  }

  uniform(label: string, sizeBytes: number): GPUBuffer {
    return this.#create(label, sizeBytes, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
  }

  staging(label: string, sizeBytes: number): GPUBuffer {
    return this.#create(label, sizeBytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  }

  /** Resolves when everything asked for so far was really allocated. @throws SkeinError `out-of-memory`. */
  async allocated(): Promise<void> {
    const outcomes = await Promise.all(this.#outcomes.splice(0));
    const failure = outcomes.find((outcome) => outcome !== null);
    if (failure === undefined) return;
    throw new SkeinError(
      'out-of-memory',
      `The GPU has no room for ${this.#sizeBytes} bytes: ${failure.message} Lend less memory, or close other programs that use the GPU.`,
      { data: { sizeBytes: this.#sizeBytes } },
    );
  }

  dispose(): void {
    for (const buffer of this.#buffers.splice(0)) buffer.destroy();
  }

  #create(label: string, sizeBytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    const size = Math.max(1, Math.ceil(sizeBytes / ALIGNMENT_BYTES)) * ALIGNMENT_BYTES;
    const { limits } = this.device;
    if (size > limits.maxBufferSize) {
      throw new SkeinError(
        'out-of-memory',
        `${label} needs a buffer of ${size} bytes and this GPU makes them up to ${limits.maxBufferSize}.`,
        { data: { sizeBytes: size, limitBytes: limits.maxBufferSize } },
      );
    }
    this.device.pushErrorScope('out-of-memory');
    const buffer = this.device.createBuffer({ label, size, usage });
    this.#outcomes.push(this.device.popErrorScope());
    this.#buffers.push(buffer);
    this.#sizeBytes += size;
    return buffer;
  }
}

import type { GpuMemory } from './gpu-memory.ts';

/** Copies results to the CPU through one staging buffer, which grows to the largest result so far. One read at a time. */
export class ReadBack {
  readonly #memory: GpuMemory;
  #staging: GPUBuffer | null = null;

  constructor(memory: GpuMemory) {
    this.#memory = memory;
  }

  /**
   * Encodes the copies of leading bytes.
   * @returns what to await after the submit: a copy per source, in order; a lost device rejects it.
   */
  encode(
    encoder: GPUCommandEncoder,
    sources: readonly (readonly [buffer: GPUBuffer, sizeBytes: number])[],
  ): () => Promise<ArrayBuffer[]> {
    const totalBytes = sources.reduce((sum, [, sizeBytes]) => sum + sizeBytes, 0);
    const staging = this.#stagingOf(totalBytes);
    const ranges: { start: number; end: number }[] = [];
    let start = 0;
    for (const [buffer, sizeBytes] of sources) {
      if (sizeBytes > 0) encoder.copyBufferToBuffer(buffer, 0, staging, start, sizeBytes);
      ranges.push({ start, end: start + sizeBytes });
      start += sizeBytes;
    }
    return async () => {
      await staging.mapAsync(GPUMapMode.READ);
      const mapped = staging.getMappedRange();
      const copies = ranges.map(({ start: from, end }) => mapped.slice(from, end));
      staging.unmap();
      return copies;
    };
  }

  #stagingOf(sizeBytes: number): GPUBuffer {
    if (this.#staging !== null && this.#staging.size >= sizeBytes) return this.#staging;
    this.#staging?.destroy();
    this.#staging = this.#memory.staging('read_back', sizeBytes);
    return this.#staging;
  }
}

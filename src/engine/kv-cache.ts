import { SkeinError } from '../protocol/errors.ts';
import type { BlockCopy } from './batch.ts';
import type { GpuMemory } from './gpu-memory.ts';
import { cacheBlockBytes } from './kernels/attention-shape.ts';
import type { AttentionShape } from './kernels/attention-shape.ts';

/** The cache of one layer, each [block, BLOCK_TOKENS, kv heads, head dim] in the shape's format. */
export interface LayerCache {
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
}

/** The cache blocks of a slice, over all its layers. */
export class KvCache {
  readonly #device: GPUDevice;
  readonly #layers: readonly LayerCache[];
  readonly #blockBytes: number;
  /** WebGPU copies nothing within one buffer. */
  readonly #passing: GPUBuffer;

  /**
   * @param memory owns the buffers, and tells whether there was room for them.
   * @throws SkeinError `out-of-memory` for a layer over the limits of the device.
   */
  constructor(
    memory: GpuMemory,
    shape: AttentionShape,
    layerCount: number,
    private readonly blockCount: number,
  ) {
    this.#device = memory.device;
    this.#blockBytes = cacheBlockBytes(shape);
    const sizeBytes = blockCount * this.#blockBytes;
    const limitBytes = memory.device.limits.maxStorageBufferBindingSize;
    if (sizeBytes > limitBytes) {
      throw new SkeinError(
        'out-of-memory',
        `The keys of a layer take ${sizeBytes} bytes and this GPU binds at most ${limitBytes}.`,
        { data: { sizeBytes, limitBytes } },
      );
    }
    this.#layers = Array.from({ length: layerCount }, () => ({
      keys: memory.storage('keys', sizeBytes),
      values: memory.storage('values', sizeBytes),
    }));
    this.#passing = memory.storage('passing_block', this.#blockBytes);
  }

  /** @param index counts from the first layer of the slice. */
  layer(index: number): LayerCache {
    const layer = this.#layers[index];
    if (layer === undefined) throw new SkeinError('internal', `The cache has no layer ${index}.`);
    return layer;
  }

  /** @see Slice.copyBlocks */
  copyBlocks(copies: readonly BlockCopy[]): void {
    this.#check(copies);
    if (copies.length === 0) return;
    const encoder = this.#device.createCommandEncoder();
    for (const buffer of this.#layers.flatMap(({ keys, values }) => [keys, values])) {
      for (const { from, to } of copies) {
        encoder.copyBufferToBuffer(buffer, from * this.#blockBytes, this.#passing, 0, this.#blockBytes);
        encoder.copyBufferToBuffer(this.#passing, 0, buffer, to * this.#blockBytes, this.#blockBytes);
      }
    }
    this.#device.queue.submit([encoder.finish()]);
  }

  #check(copies: readonly BlockCopy[]): void {
    const targets = new Set(copies.map(({ to }) => to));
    const isBlock = (block: number) => Number.isInteger(block) && block >= 0 && block < this.blockCount;
    const stray = copies.find(({ from, to }) => !isBlock(from) || !isBlock(to));
    if (stray !== undefined) {
      throw new SkeinError(
        'bad-argument',
        `Block ${stray.from} was to be copied to ${stray.to} in a cache with ${this.blockCount}.`,
      );
    }
    if (targets.size < copies.length || copies.some(({ from }) => targets.has(from))) {
      throw new SkeinError(
        'bad-argument',
        'A cache block is the target of two copies, or the source of another.',
      );
    }
  }
}

import { GpuMemory } from '../../src/engine/gpu-memory.ts';
import type { KernelCompiler } from '../../src/engine/kernel.ts';
import { decodeSampled } from '../../src/engine/kernels/sample-rows.ts';
import type { SampledToken, SampleRow } from '../../src/engine/kernels/sample-rows.ts';
import { Sampler } from '../../src/engine/sampler.ts';
import { randomNormal } from '../fixtures/random-model.ts';
import { ONE_ROW } from './gpu.ts';
import type { TestGpu } from './gpu.ts';

/** A sampler that lives for many passes, as that of a slice does. */
export class SamplerRig {
  private constructor(
    private readonly gpu: TestGpu,
    private readonly memory: GpuMemory,
    private readonly sampler: Sampler,
    private readonly logits: GPUBuffer,
  ) {}

  static async create(
    gpu: TestGpu,
    vocabSize: number,
    maxRows: number,
    compiler: KernelCompiler = gpu.compiler,
  ): Promise<SamplerRig> {
    const memory = new GpuMemory(gpu.device);
    const logits = memory.storage('logits', maxRows * vocabSize * Float32Array.BYTES_PER_ELEMENT);
    return new SamplerRig(
      gpu,
      memory,
      await Sampler.create(compiler, memory, { vocabSize, maxRows }, logits),
      logits,
    );
  }

  /** One pass. @param logits f32 [head rows][vocab]. */
  async sample(logits: readonly Float32Array[], rows: readonly SampleRow[]): Promise<SampledToken[]> {
    let offset = 0;
    for (const row of logits) {
      this.gpu.device.queue.writeBuffer(this.logits, offset, Float32Array.from(row));
      offset += row.byteLength;
    }
    this.sampler.write(rows);
    await this.gpu.run([this.sampler], { ...ONE_ROW, headRows: logits.length, sampleRows: rows.length });
    const [sampled, top] = await Promise.all(
      this.sampler.results.map(async ([buffer, sizeBytes]) =>
        (await this.gpu.readU32(buffer)).buffer.slice(0, sizeBytes),
      ),
    );
    return decodeSampled(rows, sampled, top);
  }

  dispose(): void {
    this.memory.dispose();
  }
}

/** One pass of a sampler of its own. @param logits f32 [head rows][vocab]. */
export async function sampleOnce(
  gpu: TestGpu,
  logits: readonly Float32Array[],
  rows: readonly SampleRow[],
): Promise<SampledToken[]> {
  const maxRows = Math.max(rows.length, logits.length);
  const rig = await SamplerRig.create(gpu, logits[0]?.length ?? 0, maxRows);
  const tokens = await rig.sample(logits, rows);
  rig.dispose();
  return tokens;
}

export function randomLogits(vocabSize: number, seed: number, spread = 1): Float32Array {
  const normal = randomNormal(seed);
  return Float32Array.from({ length: vocabSize }, () => spread * normal());
}

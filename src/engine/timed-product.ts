import type { GpuMemory } from './gpu-memory.ts';
import { plainLinear } from './kernels/linear-shape.ts';
import type { LinearBuffers, LinearShape } from './kernels/linear-shape.ts';
import { weightBytes, weightScaleBytes } from './kernels/weights.ts';
import type { WeightShape } from './kernels/weights.ts';
import { encodeStep, rowsStep, STEP_UNIFORM_BYTES } from './step.ts';
import type { StepKernel } from './step.ts';

/** A plain linear map with buffers of its own, which kernels of it are timed on. Whoever owns the memory frees them. */
export class TimedProduct {
  private constructor(
    private readonly device: GPUDevice,
    readonly shape: LinearShape,
    /** Zeros, until someone writes them. */
    readonly buffers: LinearBuffers,
  ) {}

  /** @param maxRows room for that many. @throws SkeinError `out-of-memory`. */
  static async allocate(memory: GpuMemory, weights: WeightShape, maxRows: number): Promise<TimedProduct> {
    const { inFeatures, outFeatures } = weights;
    const scaleBytes = weightScaleBytes(weights);
    const buffers: LinearBuffers = {
      weights: memory.storage('timed weights', weightBytes(weights)),
      scales: scaleBytes === 0 ? null : memory.storage('timed scales', scaleBytes),
      step: memory.uniform('timed step', STEP_UNIFORM_BYTES),
      input: memory.storage('timed input', maxRows * inFeatures * Float32Array.BYTES_PER_ELEMENT),
      gain: null,
      bias: null,
      headInfo: null,
      output: memory.storage('timed output', maxRows * outFeatures * Float32Array.BYTES_PER_ELEMENT),
    };
    await memory.allocated();
    return new TimedProduct(memory.device, plainLinear(weights), buffers);
  }

  /**
   * Runs a kernel of this product `repeats` times in one submit.
   * @returns milliseconds until the GPU is done with all of them.
   */
  async time(kernel: StepKernel, rows: number, repeats: number): Promise<number> {
    const { device } = this;
    const step = rowsStep(rows);
    device.queue.writeBuffer(this.buffers.step, 0, encodeStep(step));
    const startedMs = performance.now();
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let repeat = 0; repeat < repeats; repeat++) kernel.encode(pass, step);
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return performance.now() - startedMs;
  }
}

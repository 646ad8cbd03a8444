import { KernelCompiler } from '../../engine/kernel.ts';
import { GpuMemory } from '../../engine/gpu-memory.ts';
import { createLinear } from '../../engine/kernels/linear.ts';
import { ReadBack } from '../../engine/read-back.ts';
import { TimedProduct } from '../../engine/timed-product.ts';
import type { KernelFacts } from './facts.ts';

const SHAPE = { format: 'f32', inFeatures: 264, outFeatures: 33 } as const;
const ROWS = 5;
/** Sums of 264 products of numbers up to 1, in f32 and in another order than here. */
const TOLERANCE = 1e-4;

/** A matrix product of odd sizes by the kernel that answers are made with. @throws SkeinError of the device or the compiler. */
export async function probeKernel(device: GPUDevice): Promise<KernelFacts> {
  const { inFeatures, outFeatures } = SHAPE;
  const memory = new GpuMemory(device);
  try {
    const product = await TimedProduct.allocate(memory, SHAPE, ROWS);
    const { buffers, shape } = product;
    const [weights, input] = [numbers(outFeatures * inFeatures, 7), numbers(ROWS * inFeatures, 11)];
    device.queue.writeBuffer(buffers.weights, 0, weights);
    device.queue.writeBuffer(buffers.input, 0, input);
    const kernel = await createLinear(KernelCompiler.of(device), shape, buffers);
    await product.time(kernel, ROWS, 1);
    const milliseconds = await product.time(kernel, ROWS, 1);
    const encoder = device.createCommandEncoder();
    const read = new ReadBack(memory).encode(encoder, [[buffers.output, 4 * ROWS * outFeatures]]);
    device.queue.submit([encoder.finish()]);
    const [bytes = new ArrayBuffer(0)] = await read();
    return {
      largestError: largestError(new Float32Array(bytes), input, weights),
      tolerance: TOLERANCE,
      milliseconds,
    };
  } finally {
    memory.dispose();
  }
}

/** NaN where the output has one. */
function largestError(output: Float32Array, input: Float32Array, weights: Float32Array): number {
  const { inFeatures, outFeatures } = SHAPE;
  let largest = 0;
  for (let row = 0; row < ROWS; row += 1) {
    for (let feature = 0; feature < outFeatures; feature += 1) {
      let sum = 0;
      for (let index = 0; index < inFeatures; index += 1) {
        sum += (input[row * inFeatures + index] ?? NaN) * (weights[feature * inFeatures + index] ?? NaN);
      }
      largest = Math.max(largest, Math.abs(sum - (output[row * outFeatures + feature] ?? NaN)));
    }
  }
  return largest;
}

/** From -0.5 to 0.5, the same each time. */
function numbers(count: number, step: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, index) => ((index * step) % 101) / 101 - 0.5);
}

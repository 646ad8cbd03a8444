import { KernelCompiler } from '../../src/engine/kernel.ts';
import { requestEngineDevice } from '../../src/engine/device.ts';
import { createNodeGpu } from '../../src/engine/node-gpu.ts';
import { encodeStep, rowsStep } from '../../src/engine/step.ts';
import type { EngineDevice } from '../../src/engine/device.ts';
import type { StepKernel, StepShape } from '../../src/engine/step.ts';

/** Dawn ends with the last reference to its GPU, so this one lives as long as the test file. */
let gpu: GPU | undefined;

/** A step with one row and nothing else; tests override what they use. */
export const ONE_ROW = rowsStep(1);

/** The adapter under test, opened once per file. Throws without an adapter: a kernel test never passes by not running. */
export async function openTestGpu(): Promise<TestGpu> {
  gpu ??= await createNodeGpu();
  return new TestGpu(await requestEngineDevice(gpu));
}

/** Uploads, runs kernels, reads back; every GPU error becomes an exception. */
export class TestGpu {
  readonly device: GPUDevice;
  readonly compiler: KernelCompiler;

  constructor(readonly engine: EngineDevice) {
    this.device = engine.device;
    this.compiler = new KernelCompiler(engine.device);
  }

  /** A storage buffer with this content. */
  upload(data: Float32Array | Uint32Array | Uint8Array): GPUBuffer {
    const buffer = this.device.createBuffer({
      size: Math.ceil(data.byteLength / 4) * 4,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
      mappedAtCreation: true,
    });
    new Uint8Array(buffer.getMappedRange()).set(
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    );
    buffer.unmap();
    return buffer;
  }

  /** A storage buffer full of NaN, so that an output nobody wrote, or an input nobody set, cannot pass for a zero. */
  poisoned(elements: number): GPUBuffer {
    return this.upload(new Float32Array(elements).fill(NaN));
  }

  /** The Step uniform of a forward pass. */
  step(step: StepShape): GPUBuffer {
    const words = encodeStep(step);
    const buffer = this.device.createBuffer({
      size: words.byteLength,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    this.device.queue.writeBuffer(buffer, 0, words);
    return buffer;
  }

  /** Runs the kernels in order in one pass. Rejects with the GPU's words when it objects to anything. */
  async run(kernels: readonly StepKernel[], step: StepShape): Promise<void> {
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const kernel of kernels) kernel.encode(pass, step);
    pass.end();
    // What a kernel encoded wrongly is reported when the encoder finishes.
    this.device.pushErrorScope('validation');
    this.device.pushErrorScope('out-of-memory');
    this.device.queue.submit([encoder.finish()]);
    for (const error of [await this.device.popErrorScope(), await this.device.popErrorScope()]) {
      if (error !== null) throw new Error(`GPU: ${error.message}`);
    }
  }

  async readF32(buffer: GPUBuffer): Promise<Float32Array<ArrayBuffer>> {
    return new Float32Array(await this.#read(buffer));
  }

  async readU32(buffer: GPUBuffer): Promise<Uint32Array<ArrayBuffer>> {
    return new Uint32Array(await this.#read(buffer));
  }

  async #read(buffer: GPUBuffer): Promise<ArrayBuffer> {
    const staging = this.device.createBuffer({
      size: buffer.size,
      usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
    });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
    this.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const bytes = staging.getMappedRange().slice(0);
    staging.destroy();
    return bytes;
  }
}

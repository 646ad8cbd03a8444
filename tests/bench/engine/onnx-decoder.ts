import * as ort from 'onnxruntime-web/webgpu';
import type { Architecture } from '../../../src/model/architecture.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { cacheNames } from '../onnx/names.ts';
import type { Decoder } from './decoder.ts';

export interface OnnxDecoderOptions {
  readonly name: string;
  readonly architecture: Architecture;
  /** The .onnx file; its weights are beside it, with `.data` behind the name. */
  readonly url: string;
  /** Positions of the caches. */
  readonly maxPositions: number;
}

type Tensors = Record<string, ort.Tensor>;

/**
 * ONNX Runtime's WebGPU provider at its best: all graph optimisations, and caches that stay in the same GPU buffers, past and
 * present (its fastest way, which saves copying them). Its graph capture fails in 1.30 on this graph (`createBindGroup: Required
 * member is undefined`), with and without every input and output in GPU buffers.
 */
export class OnnxDecoder implements Decoder {
  private constructor(
    readonly name: string,
    private readonly session: ort.InferenceSession,
    /** By input name. */
    private readonly past: Tensors,
    /** The same buffers by output name. */
    private readonly present: Tensors,
  ) {}

  static async load({ name, architecture, url, maxPositions }: OnnxDecoderOptions): Promise<OnnxDecoder> {
    const weights = await fetch(`${url}.data`);
    const session = await ort.InferenceSession.create(url, {
      executionProviders: ['webgpu'],
      graphOptimizationLevel: 'all',
      externalData: [
        { path: `${url.replace(/.*\//, '')}.data`, data: new Uint8Array(await weights.arrayBuffer()) },
      ],
    });
    const device = await ort.env.webgpu.device;
    const past: Tensors = {};
    const present: Tensors = {};
    const dims = [1, architecture.kvHeadCount, maxPositions, architecture.headDim];
    for (const cache of Array.from({ length: architecture.layerCount }, (_, layer) =>
      cacheNames(layer),
    ).flat()) {
      const buffer = device.createBuffer({
        size: dims.reduce((a, b) => a * b, Float32Array.BYTES_PER_ELEMENT),
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
      });
      past[`past.${cache}`] = ort.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims });
      present[`present.${cache}`] = ort.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims });
    }
    return new OnnxDecoder(name, session, past, present);
  }

  prefill(ids: readonly number[]): Promise<number> {
    return this.#token(ids, 0);
  }

  decode(id: number, position: number): Promise<number> {
    return this.#token([id], position);
  }

  async logits(ids: readonly number[]): Promise<Float32Array> {
    const data = await this.#run(ids, 0, 'logits');
    if (!(data instanceof Float32Array)) throw new SkeinError('internal', 'The logits are not f32.');
    return data;
  }

  async dispose(): Promise<void> {
    for (const tensor of Object.values(this.past)) tensor.gpuBuffer.destroy();
    await this.session.release();
  }

  async #token(ids: readonly number[], position: number): Promise<number> {
    const data = await this.#run(ids, position, 'token');
    if (!(data instanceof BigInt64Array)) throw new SkeinError('internal', 'The token is not an i64.');
    return Number(data[0]);
  }

  async #run(
    ids: readonly number[],
    position: number,
    wanted: 'token' | 'logits',
  ): Promise<ort.Tensor.DataType> {
    const keys = position + ids.length;
    const inputs: Tensors = {
      input_ids: new ort.Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
      seqlens_k: new ort.Tensor('int32', Int32Array.of(keys - 1), [1]),
      total_sequence_length: new ort.Tensor('int32', Int32Array.of(keys), []),
    };
    const outputs = await this.session.run({ ...inputs, ...this.past }, { ...this.present, [wanted]: null });
    const tensor = outputs[wanted];
    if (tensor === undefined) throw new SkeinError('internal', `There is no ${wanted}.`);
    return tensor.getData();
  }
}

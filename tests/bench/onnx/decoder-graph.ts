import type { Architecture } from '../../../src/model/architecture.ts';
import type { Checkpoint, Tensor } from '../../../src/model/checkpoint.ts';
import { ropeInverseFrequencies } from '../../../src/model/rope.ts';
import { EMBEDDING_TENSOR, FINAL_NORM_TENSOR, headTensorName } from '../../../src/model/tensor-names.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { cacheNames } from './names.ts';
import { MICROSOFT } from './onnx-model.ts';
import type { AttributeValue, OnnxGraph, OnnxNode, OnnxTensor, OnnxValue } from './onnx-model.ts';
import { floatsOf, nBitsMatrix, transpose } from './weights-file.ts';
import type { WeightsFile } from './weights-file.ts';

export interface DecoderGraphOptions {
  readonly checkpoint: Checkpoint;
  readonly weights: WeightsFile;
  /** Positions the rotary tables and the caches have. */
  readonly maxPositions: number;
  /** MatMulNBits: 4 lets activations be rounded to 8 bits; null leaves the choice to ONNX Runtime. */
  readonly accuracyLevel: number | null;
}

/**
 * The decoder as ONNX Runtime's own model builder writes it for WebGPU, so that its fusions find what they look for: joined Q, K
 * and V unless they are normalised, GroupQueryAttention that rotates, residual additions inside the norms, head of the last row only.
 *
 *     inputs   input_ids i64 [1, rows]; seqlens_k i32 [1], keys after this call − 1; total_sequence_length i32 [], keys after this call;
 *              past.<layer>.key and .value f32 [1, kv heads, past, head dim]
 *     outputs  token i64 [1, 1, 1], the most likely; logits f32 [1, 1, vocab]; present.<layer>.key and .value
 */
export async function decoderGraph(options: DecoderGraphOptions): Promise<OnnxGraph> {
  return new DecoderGraph(options).build();
}

class DecoderGraph {
  readonly #nodes: OnnxNode[] = [];
  readonly #constants: OnnxTensor[] = [];
  readonly #architecture: Architecture;

  constructor(private readonly options: DecoderGraphOptions) {
    this.#architecture = options.checkpoint.architecture;
  }

  async build(): Promise<OnnxGraph> {
    if (this.#architecture.qkvBias) {
      throw new SkeinError('model-unsupported', 'The ONNX graph has no biases; take a Llama or Qwen3 model.');
    }
    const { layerCount, vocabSize, hiddenSize, kvHeadCount, headDim } = this.#architecture;
    const { weights } = this.options;
    await this.#addRotaryTables();
    const embedding = floatsOf(await this.#read(EMBEDDING_TENSOR, vocabSize, hiddenSize));
    await weights.add('embedding', 'f32', [vocabSize, hiddenSize], embedding);
    let residual = this.#node('Gather', '', ['embedding', 'input_ids'], ['embedded'])[0] ?? '';
    let change: string | null = null;
    for (let layer = 0; layer < layerCount; layer++)
      [residual, change] = await this.#layer(layer, residual, change);
    const [normed] = await this.#norm(FINAL_NORM_TENSOR, residual, change);
    this.#constants.push({
      name: 'last',
      type: 'i64',
      shape: [1],
      data: new Uint8Array(BigInt64Array.of(-1n).buffer),
    });
    this.#node('Gather', '', [normed, 'last'], ['last_row'], { axis: { int: 1 } });
    await this.#linear('logits', 'last_row', [[headTensorName(this.#architecture), vocabSize]], hiddenSize);
    this.#node('ArgMax', '', ['logits'], ['token'], { axis: { int: 2 }, keepdims: { int: 1 } });

    const caches = (prefix: string, length: string): OnnxValue[] =>
      Array.from({ length: layerCount }, (_, layer) => cacheNames(layer))
        .flat()
        .map((name) => ({
          name: `${prefix}.${name}`,
          type: 'f32',
          shape: [1, kvHeadCount, length, headDim],
        }));
    return {
      nodes: this.#nodes,
      tensors: [...this.#constants, ...weights.tensors],
      inputs: [
        { name: 'input_ids', type: 'i64', shape: [1, 'rows'] },
        { name: 'seqlens_k', type: 'i32', shape: [1] },
        { name: 'total_sequence_length', type: 'i32', shape: [] },
        ...caches('past', 'past_length'),
      ],
      outputs: [
        { name: 'token', type: 'i64', shape: [1, 1, 1] },
        { name: 'logits', type: 'f32', shape: [1, 1, vocabSize] },
        ...caches('present', 'present_length'),
      ],
    };
  }

  /** @param change what is still to be added to the residual; null before the first layer. @returns both after the layer. */
  async #layer(layer: number, residual: string, change: string | null): Promise<[string, string]> {
    const { hiddenSize, intermediateSize, headCount, headDim } = this.#architecture;
    const prefix = `model.layers.${layer}`;
    const [attentionInput, beforeAttention] = await this.#norm(
      `${prefix}.input_layernorm.weight`,
      residual,
      change,
    );
    const attended = await this.#attention(layer, attentionInput);
    const output = await this.#linear(
      `${prefix}.o`,
      attended,
      [[`${prefix}.self_attn.o_proj.weight`, hiddenSize]],
      headCount * headDim,
    );
    const [mlpInput, beforeMlp] = await this.#norm(
      `${prefix}.post_attention_layernorm.weight`,
      beforeAttention,
      output,
    );
    const project = (part: 'gate' | 'up') =>
      this.#linear(
        `${prefix}.${part}`,
        mlpInput,
        [[`${prefix}.mlp.${part}_proj.weight`, intermediateSize]],
        hiddenSize,
      );
    const gate = await project('gate');
    const up = await project('up');
    this.#node('Sigmoid', '', [gate], [`${prefix}.sigmoid`]);
    this.#node('Mul', '', [gate, `${prefix}.sigmoid`], [`${prefix}.silu`]);
    this.#node('Mul', '', [`${prefix}.silu`, up], [`${prefix}.activated`]);
    const down = await this.#linear(
      `${prefix}.down`,
      `${prefix}.activated`,
      [[`${prefix}.mlp.down_proj.weight`, hiddenSize]],
      intermediateSize,
    );
    return [beforeMlp, down];
  }

  async #attention(layer: number, input: string): Promise<string> {
    const { hiddenSize, headCount, kvHeadCount, headDim, qkNorm } = this.#architecture;
    const prefix = `model.layers.${layer}`;
    const part = (name: 'q' | 'k' | 'v', heads: number): [string, number] => [
      `${prefix}.self_attn.${name}_proj.weight`,
      heads * headDim,
    ];
    const parts = { q: part('q', headCount), k: part('k', kvHeadCount), v: part('v', kvHeadCount) };
    const project = (name: string, of: readonly [string, number][]) =>
      this.#linear(`${prefix}.${name}`, input, of, hiddenSize);
    const queryKeyValue = qkNorm
      ? [
          await this.#headNorm(prefix, 'q', headCount, await project('q', [parts.q])),
          await this.#headNorm(prefix, 'k', kvHeadCount, await project('k', [parts.k])),
          await project('v', [parts.v]),
        ]
      : [await project('qkv', [parts.q, parts.k, parts.v]), '', ''];
    const caches = cacheNames(layer);
    const [attended = ''] = this.#node(
      'GroupQueryAttention',
      MICROSOFT,
      [
        ...queryKeyValue,
        ...caches.map((name) => `past.${name}`),
        'seqlens_k',
        'total_sequence_length',
        'rotary_cosines',
        'rotary_sines',
      ],
      [`${prefix}.attended`, ...caches.map((name) => `present.${name}`)],
      {
        num_heads: { int: headCount },
        kv_num_heads: { int: kvHeadCount },
        scale: { float: 1 / Math.sqrt(headDim) },
        do_rotary: { int: 1 },
        rotary_interleaved: { int: 0 },
      },
    );
    return attended;
  }

  /** Qwen3: each head of Q and K is normalised by itself. */
  async #headNorm(prefix: string, name: 'q' | 'k', heads: number, input: string): Promise<string> {
    const { headDim, rmsNormEpsilon } = this.#architecture;
    const weight = `${prefix}.self_attn.${name}_norm.weight`;
    await this.options.weights.add(weight, 'f32', [headDim], floatsOf(await this.#read(weight, headDim)));
    const shape = (label: string, width: number) => {
      const constant = `${prefix}.${name}_norm.${label}`;
      const data = new Uint8Array(BigInt64Array.of(0n, -1n, BigInt(width)).buffer);
      this.#constants.push({ name: constant, type: 'i64', shape: [3], data });
      return constant;
    };
    this.#node('Reshape', '', [input, shape('heads', headDim)], [`${input}.heads`]);
    this.#node('SimplifiedLayerNormalization', '', [`${input}.heads`, weight], [`${input}.normed`], {
      epsilon: { float: rmsNormEpsilon },
      axis: { int: -1 },
      stash_type: { int: 1 },
    });
    const [joined = ''] = this.#node(
      'Reshape',
      '',
      [`${input}.normed`, shape('rows', heads * headDim)],
      [`${input}.joined`],
    );
    return joined;
  }

  /** Adds `change` to the residual and normalises. @returns the normalised rows, and the residual they came from. */
  async #norm(
    weight: string,
    residual: string,
    change: string | null,
  ): Promise<[normed: string, residual: string]> {
    const { hiddenSize, rmsNormEpsilon } = this.#architecture;
    await this.options.weights.add(
      weight,
      'f32',
      [hiddenSize],
      floatsOf(await this.#read(weight, hiddenSize)),
    );
    const epsilon = { epsilon: { float: rmsNormEpsilon } };
    const normed = `${weight}.normed`;
    if (change === null) {
      this.#node('SimplifiedLayerNormalization', '', [residual, weight], [normed], {
        ...epsilon,
        axis: { int: -1 },
        stash_type: { int: 1 },
      });
      return [normed, residual];
    }
    const sum = `${weight}.sum`;
    this.#node(
      'SkipSimplifiedLayerNormalization',
      MICROSOFT,
      [residual, change, weight],
      [normed, '', '', sum],
      epsilon,
    );
    return [normed, sum];
  }

  /** Rows times the transposed matrices, their outputs joined. @returns `output` */
  async #linear(
    output: string,
    input: string,
    parts: readonly (readonly [name: string, outFeatures: number])[],
    inFeatures: number,
  ): Promise<string> {
    const { weights, accuracyLevel } = this.options;
    const outFeatures = parts.reduce((sum, [, count]) => sum + count, 0);
    const matrices = await Promise.all(parts.map(([name, count]) => this.#read(name, count, inFeatures)));
    const quantized = matrices.map((matrix) => (matrix.kind === 'quantized' ? nBitsMatrix(matrix) : null));
    const first = quantized[0];
    if (first !== null && first !== undefined) {
      const { bits, groupSize } = first;
      const groups = inFeatures / groupSize;
      const codes = join(quantized.map((matrix) => matrix?.codes ?? new Uint8Array()));
      const scales = join(
        quantized.map((matrix) => new Uint8Array(matrix?.scales.buffer ?? new ArrayBuffer(0))),
      );
      await weights.add(`${output}.codes`, 'u8', [outFeatures, groups, (groupSize * bits) / 8], codes);
      await weights.add(`${output}.scales`, 'f32', [outFeatures, groups], scales);
      this.#node('MatMulNBits', MICROSOFT, [input, `${output}.codes`, `${output}.scales`], [output], {
        K: { int: inFeatures },
        N: { int: outFeatures },
        bits: { int: bits },
        block_size: { int: groupSize },
        ...(accuracyLevel !== null && { accuracy_level: { int: accuracyLevel } }),
      });
      return output;
    }
    const rows = new Float32Array(outFeatures * inFeatures);
    let row = 0;
    matrices.forEach((matrix, index) => {
      rows.set(floatsOf(matrix), row * inFeatures);
      row += parts[index]?.[1] ?? 0;
    });
    const columns = transpose(rows, [outFeatures, inFeatures]);
    await weights.add(`${output}.matrix`, 'f32', [inFeatures, outFeatures], columns);
    this.#node('MatMul', '', [input, `${output}.matrix`], [output]);
    return output;
  }

  async #addRotaryTables(): Promise<void> {
    const { weights, maxPositions } = this.options;
    const frequencies = ropeInverseFrequencies(this.#architecture);
    const table = (wave: (angle: number) => number) =>
      Float32Array.from({ length: maxPositions * frequencies.length }, (_, index) => {
        const position = Math.floor(index / frequencies.length);
        return wave(position * (frequencies[index % frequencies.length] ?? 0));
      });
    const shape = [maxPositions, frequencies.length];
    await weights.add('rotary_cosines', 'f32', shape, table(Math.cos));
    await weights.add('rotary_sines', 'f32', shape, table(Math.sin));
  }

  #read(name: string, ...shape: number[]): Promise<Tensor> {
    return this.options.checkpoint.read(name, shape);
  }

  #node(
    operator: string,
    domain: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): readonly string[] {
    this.#nodes.push({ operator, domain, inputs, outputs, attributes });
    return outputs;
  }
}

function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

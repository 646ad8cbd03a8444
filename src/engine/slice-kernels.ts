import type { Architecture } from '../model/architecture.ts';
import { EMBEDDING_TENSOR, FINAL_NORM_TENSOR, headTensorName, layerTensors } from '../model/tensor-names.ts';
import type { TensorSpec } from '../model/tensor-names.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { GpuMemory } from './gpu-memory.ts';
import type { KernelCompiler } from './kernel.ts';
import type { KvCache } from './kv-cache.ts';
import { createAttentionDecode } from './kernels/attention-decode.ts';
import { createAttentionPrefill } from './kernels/attention-prefill.ts';
import { createAttentionReduce } from './kernels/attention-reduce.ts';
import type { DecodeShape } from './kernels/attention-splits.ts';
import { createEmbedding } from './kernels/embedding.ts';
import { createLinear } from './kernels/linear.ts';
import { createResidualAdd } from './kernels/residual-add.ts';
import { createRmsNorm } from './kernels/rms-norm.ts';
import { createRopeAppend } from './kernels/rope-append.ts';
import { createSwiglu } from './kernels/swiglu.ts';
import type { HeadBuffers, SliceBuffers } from './slice-buffers.ts';
import type { Matrix, WeightLoader } from './slice-weights.ts';
import type { StepKernel } from './step.ts';

/** What every part of a slice is built from. */
export interface SliceParts {
  readonly architecture: Architecture;
  readonly compiler: KernelCompiler;
  readonly memory: GpuMemory;
  readonly weights: WeightLoader;
  readonly buffers: SliceBuffers;
  readonly shape: DecodeShape;
  /** (cos, sin) by position, from `ropeTable`. */
  readonly rope: GPUBuffer;
  readonly cache: KvCache;
}

/** token_ids → hidden. */
export async function buildEmbedding(
  { compiler, buffers }: SliceParts,
  embedding: Matrix,
): Promise<StepKernel[]> {
  const { tokenIds, hidden } = buffers;
  const { format, inFeatures } = embedding;
  return Promise.all(
    embedding.parts.map(({ buffer, firstRow, rowCount }) =>
      createEmbedding(
        compiler,
        { format, inFeatures, outFeatures: rowCount, firstToken: firstRow },
        { weights: buffer, tokenIds, hidden },
      ),
    ),
  );
}

export function loadEmbedding({ architecture, weights }: SliceParts): Promise<Matrix> {
  const { vocabSize, hiddenSize } = architecture;
  return weights.matrix([{ name: EMBEDDING_TENSOR, shape: [vocabSize, hiddenSize] }]);
}

/**
 * One decoder layer: hidden (+ delta) → hidden + delta, where delta is still to be added.
 * @param firstLayer of the slice: there nothing is pending yet, as hidden comes from the embedding or from the stage before.
 */
export async function buildLayer(parts: SliceParts, layer: number, firstLayer: number): Promise<StepKernel[]> {
  const { architecture, compiler, weights, buffers, shape, rope, cache } = parts;
  const { hiddenSize, intermediateSize, rmsNormEpsilon: epsilon, qkvBias, qkNorm } = architecture;
  const { step, hidden, delta, normed, qkv, attended, gateUp, activated, rowInfo, blockTables } = buffers;
  const specs = new Map(layerTensors(architecture, layer).map((spec) => [spec.name, spec]));
  const tensor = (name: string): TensorSpec => {
    const spec = specs.get(`model.layers.${layer}.${name}`);
    if (spec === undefined) throw new SkeinError('internal', `Layer ${layer} has no tensor ${name}.`);
    return spec;
  };
  const projections = (kind: 'weight' | 'bias') =>
    ['q', 'k', 'v'].map((name) => tensor(`self_attn.${name}_proj.${kind}`));
  const norm = async (name: string, pending: GPUBuffer | null) =>
    createRmsNorm(
      compiler,
      { size: hiddenSize, epsilon },
      { weight: await weights.vector([tensor(name)]), hidden, delta: pending, headInfo: null, normed },
    );
  const { keys, values } = cache.layer(layer - firstLayer);
  const qkWeights = qkNorm && {
    q: await weights.vector([tensor('self_attn.q_norm.weight')]),
    k: await weights.vector([tensor('self_attn.k_norm.weight')]),
    epsilon,
  };
  const attention = { step, qkv, keys, values, blockTables };
  const { decodeInfo, prefillInfo, partials, partialStats } = buffers;
  return [
    await norm('input_layernorm.weight', layer === firstLayer ? null : delta),
    ...(await buildLinear(
      parts,
      await weights.matrix(projections('weight')),
      normed,
      qkv,
      qkvBias ? await weights.vector(projections('bias')) : null,
    )),
    await createRopeAppend(compiler, shape, {
      ...attention,
      norm: qkWeights === false ? null : qkWeights,
      ropeTable: rope,
      rowInfo,
    }),
    await createAttentionDecode(compiler, shape, {
      ...attention,
      rowInfo,
      decodeInfo,
      partials,
      partialStats,
    }),
    await createAttentionReduce(compiler, shape, { decodeInfo, partials, partialStats, attended }),
    await createAttentionPrefill(compiler, shape, { ...attention, prefillInfo, attended }),
    ...(await buildLinear(parts, await weights.matrix([tensor('self_attn.o_proj.weight')]), attended, delta)),
    await norm('post_attention_layernorm.weight', delta),
    ...(await buildLinear(
      parts,
      await weights.matrix([tensor('mlp.gate_proj.weight'), tensor('mlp.up_proj.weight')]),
      normed,
      gateUp,
    )),
    await createSwiglu(compiler, { size: intermediateSize }, { gateUp, activated }),
    ...(await buildLinear(parts, await weights.matrix([tensor('mlp.down_proj.weight')]), activated, delta)),
  ];
}

/** hidden + delta → hidden, for the stage that follows. */
export async function buildTail({ architecture, compiler, buffers }: SliceParts): Promise<StepKernel[]> {
  const { delta, hidden } = buffers;
  return [await createResidualAdd(compiler, { size: architecture.hiddenSize }, { delta, hidden })];
}

/** The wanted rows of hidden + delta → logits. @param embedding the matrix of a tied head, if it is here already. */
export async function buildHead(
  parts: SliceParts,
  head: HeadBuffers,
  embedding: Matrix | null,
): Promise<StepKernel[]> {
  const { architecture, compiler, weights, buffers } = parts;
  const { hiddenSize, vocabSize, rmsNormEpsilon, tiedEmbedding } = architecture;
  const { hidden, delta, headInfo, normed } = buffers;
  const isHere = tiedEmbedding && embedding !== null;
  const matrix = isHere
    ? embedding
    : await weights.matrix([{ name: headTensorName(architecture), shape: [vocabSize, hiddenSize] }]);
  const weight = await weights.vector([{ name: FINAL_NORM_TENSOR, shape: [hiddenSize] }]);
  return [
    await createRmsNorm(
      compiler,
      { size: hiddenSize, epsilon: rmsNormEpsilon },
      { weight, hidden, delta, headInfo, normed },
    ),
    ...(await buildLinear(parts, matrix, normed, head.logits, null, 'head')),
  ];
}

/** output = input × matrixᵀ (+ bias), one kernel per part of the matrix. */
function buildLinear(
  { compiler, buffers }: SliceParts,
  { format, inFeatures, outFeatures, parts }: Matrix,
  input: GPUBuffer,
  output: GPUBuffer,
  bias: GPUBuffer | null = null,
  rowsOf: 'step' | 'head' = 'step',
): Promise<StepKernel[]> {
  if (bias !== null && parts.length > 1) {
    throw new SkeinError(
      'model-unsupported',
      `A projection of ${outFeatures} × ${inFeatures} with a bias is over this GPU's binding limit.`,
    );
  }
  return Promise.all(
    parts.map(({ buffer, firstRow, rowCount }) =>
      createLinear(
        compiler,
        {
          format,
          inFeatures,
          outFeatures: rowCount,
          outStride: outFeatures,
          outOffset: firstRow,
          rowsOf,
        },
        { weights: buffer, step: buffers.step, input, bias, output },
      ),
    ),
  );
}

import { layerWindow } from '../model/architecture.ts';
import type { Architecture } from '../model/architecture.ts';
import { EMBEDDING_TENSOR, FINAL_NORM_TENSOR, headTensorName, layerTensors } from '../model/tensor-names.ts';
import type { TensorSpec } from '../model/tensor-names.ts';
import type { Activations } from '../protocol/activations.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { GpuMemory } from './gpu-memory.ts';
import type { KernelCompiler } from './kernel.ts';
import type { KernelList } from './kernel-list.ts';
import { takesInt8 } from './weight-format.ts';
import type { KvCache } from './kv-cache.ts';
import { createAttentionDecode } from './kernels/attention-decode.ts';
import { createAttentionPrefill } from './kernels/attention-prefill.ts';
import { createAttentionReduce } from './kernels/attention-reduce.ts';
import type { DecodeShape } from './kernels/attention-splits.ts';
import { createEmbedding } from './kernels/embedding.ts';
import type { Epilogue } from './kernels/linear-shape.ts';
import { createLinear } from './kernels/linear.ts';
import { createRopeAppend } from './kernels/rope-append.ts';
import type { HeadBuffers, SliceBuffers } from './slice-buffers.ts';
import type { Matrix, WeightLoader } from './slice-weights.ts';

/** What every part of a slice is built from. */
export interface SliceParts {
  readonly architecture: Architecture;
  readonly compiler: KernelCompiler;
  readonly memory: GpuMemory;
  readonly activations: Activations;
  readonly weights: WeightLoader;
  readonly buffers: SliceBuffers;
  readonly shape: DecodeShape;
  /** (cos, sin) by position, from `ropeTable`. */
  readonly rope: GPUBuffer;
  readonly cache: KvCache;
}

/** token_ids → hidden. */
export function buildEmbedding(
  { compiler, buffers }: SliceParts,
  embedding: Matrix,
  kernels: KernelList,
): void {
  const { tokenIds, hidden } = buffers;
  for (const { firstColumn, weights, scales, ...shape } of embedding.parts) {
    const part = { ...shape, firstToken: firstColumn };
    kernels.add(createEmbedding(compiler, part, { weights, scales, tokenIds, hidden }));
  }
}

export function loadEmbedding({ architecture, weights }: SliceParts): Promise<Matrix> {
  const { vocabSize, hiddenSize } = architecture;
  return weights.matrix([{ name: EMBEDDING_TENSOR, shape: [vocabSize, hiddenSize] }]);
}

/** One decoder layer: hidden → hidden, in place. @param firstLayer of the slice. */
export async function buildLayer(
  parts: SliceParts,
  layer: number,
  firstLayer: number,
  kernels: KernelList,
): Promise<void> {
  const { architecture, compiler, weights, buffers, rope, cache } = parts;
  const { rmsNormEpsilon: epsilon, qkvBias, qkNorm } = architecture;
  const { hidden, qkv, attended, activated } = buffers;
  const specs = new Map(layerTensors(architecture, layer).map((spec) => [spec.name, spec]));
  const tensor = (name: string): TensorSpec => {
    const spec = specs.get(`model.layers.${layer}.${name}`);
    if (spec === undefined) throw new SkeinError('internal', `Layer ${layer} has no tensor ${name}.`);
    return spec;
  };
  const projections = (kind: 'weight' | 'bias') =>
    ['q', 'k', 'v'].map((name) => tensor(`self_attn.${name}_proj.${kind}`));
  const norm = async (name: string) => ({ gain: await weights.vector([tensor(name)]), epsilon });
  const { keys, values } = cache.layer(layer - firstLayer);
  const window = layerWindow(architecture, layer);
  const shape = { ...parts.shape, ...(window !== null && { window }) };
  const attention = { ...buffers, keys, values, sinks: null };

  addLinear(parts, kernels, await weights.matrix(projections('weight')), {
    input: hidden,
    norm: await norm('input_layernorm.weight'),
    bias: qkvBias ? await weights.vector(projections('bias')) : null,
    output: qkv,
  });
  const qkNorms = qkNorm
    ? {
        q: await weights.vector([tensor('self_attn.q_norm.weight')]),
        k: await weights.vector([tensor('self_attn.k_norm.weight')]),
        epsilon,
      }
    : null;
  kernels.add(
    createRopeAppend(compiler, shape, { ...attention, norm: qkNorms, ropeTable: rope }),
    createAttentionDecode(compiler, shape, attention),
    createAttentionReduce(compiler, shape, attention),
    createAttentionPrefill(compiler, shape, attention),
  );
  addLinear(parts, kernels, await weights.matrix([tensor('self_attn.o_proj.weight')]), {
    input: attended,
    output: hidden,
    epilogue: 'add',
  });
  addLinear(
    parts,
    kernels,
    await weights.gatedMatrix(tensor('mlp.gate_proj.weight'), tensor('mlp.up_proj.weight')),
    {
      input: hidden,
      norm: await norm('post_attention_layernorm.weight'),
      output: activated,
      epilogue: 'swiglu',
    },
  );
  addLinear(parts, kernels, await weights.matrix([tensor('mlp.down_proj.weight')]), {
    input: activated,
    output: hidden,
    epilogue: 'add',
  });
}

/** The wanted rows of hidden → logits. @param embedding the matrix of a tied head, if it is here already. */
export async function buildHead(
  parts: SliceParts,
  head: HeadBuffers,
  embedding: Matrix | null,
  kernels: KernelList,
): Promise<void> {
  const { architecture, weights, buffers } = parts;
  const { hiddenSize, vocabSize, rmsNormEpsilon, tiedEmbedding } = architecture;
  const isHere = tiedEmbedding && embedding !== null;
  const matrix = isHere
    ? embedding
    : await weights.matrix([{ name: headTensorName(architecture), shape: [vocabSize, hiddenSize] }]);
  const gain = await weights.vector([{ name: FINAL_NORM_TENSOR, shape: [hiddenSize] }]);
  addLinear(parts, kernels, matrix, {
    input: buffers.hidden,
    norm: { gain, epsilon: rmsNormEpsilon },
    headInfo: buffers.headInfo,
    output: head.logits,
  });
}

/** Where a linear map reads and writes, and what is fused with it. */
interface LinearUse {
  readonly input: GPUBuffer;
  readonly output: GPUBuffer;
  /** RMSNorm of the input first. */
  readonly norm?: { readonly gain: GPUBuffer; readonly epsilon: number };
  readonly bias?: GPUBuffer | null;
  readonly epilogue?: Epilogue;
  /** Only these rows. */
  readonly headInfo?: GPUBuffer;
}

/** One kernel per part of the matrix. */
function addLinear(
  { compiler, buffers, activations }: SliceParts,
  kernels: KernelList,
  { columns, parts }: Matrix,
  { input, output, norm, bias = null, epilogue = 'store', headInfo }: LinearUse,
): void {
  for (const { firstColumn, weights, scales, ...part } of parts) {
    const shape = {
      ...part,
      outStride: columns,
      outOffset: firstColumn,
      rowsOf: headInfo === undefined ? ('step' as const) : ('head' as const),
      normEpsilon: norm?.epsilon ?? null,
      epilogue,
      activations: takesInt8(part.format) ? activations : ('f32' as const),
    };
    kernels.add(
      createLinear(compiler, shape, {
        weights,
        scales,
        step: buffers.step,
        input,
        gain: norm?.gain ?? null,
        bias,
        headInfo: headInfo ?? null,
        output,
      }),
    );
  }
}

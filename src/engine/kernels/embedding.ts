import code from '../../../shaders/embedding.wgsl?raw';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { FORMAT_CODE } from '../weight-format.ts';
import { checkBytes } from './checks.ts';
import { checkWeights, WEIGHTS_CODE } from './weights.ts';
import type { WeightShape } from './weights.ts';

const source: KernelSource = {
  name: 'embedding',
  code: WEIGHTS_CODE + code,
  bindings: { weights: 'read', token_ids: 'read', hidden: 'read-write' },
};

const OCTET = 8;
const WORKGROUP_OCTETS = 64;

/** Tokens [firstToken, firstToken + outFeatures) of the vocabulary; `inFeatures` is the hidden size. */
export interface EmbeddingShape extends WeightShape {
  readonly firstToken: number;
}

export interface EmbeddingBuffers {
  readonly weights: GPUBuffer;
  /** u32 [rows]. */
  readonly tokenIds: GPUBuffer;
  /** f32 [rows, inFeatures]. */
  readonly hidden: GPUBuffer;
}

/**
 * Looks up the rows whose token lies in this part of the table. Tokens outside every part leave their row as it was: the caller checks
 * its batch.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createEmbedding(
  compiler: KernelCompiler,
  shape: EmbeddingShape,
  buffers: EmbeddingBuffers,
): Promise<StepKernel> {
  const { name } = source;
  checkWeights(name, shape, buffers.weights);
  const kernel = await compiler.compile(source, {
    weight_format: FORMAT_CODE[shape.format],
    in_features: shape.inFeatures,
    first_token: shape.firstToken,
    part_tokens: shape.outFeatures,
  });
  const bound = bindKernel(compiler.device, kernel, {
    weights: buffers.weights,
    token_ids: buffers.tokenIds,
    hidden: buffers.hidden,
  });
  const workgroupsPerRow = Math.ceil(shape.inFeatures / OCTET / WORKGROUP_OCTETS);
  return {
    name,
    encode: (pass, step) => {
      if (step.rows === 0) return;
      checkBytes(name, 'token_ids', buffers.tokenIds, step.rows * Uint32Array.BYTES_PER_ELEMENT);
      checkBytes(
        name,
        'hidden',
        buffers.hidden,
        step.rows * shape.inFeatures * Float32Array.BYTES_PER_ELEMENT,
      );
      dispatchKernel(pass, bound, [workgroupsPerRow, step.rows]);
    },
  };
}

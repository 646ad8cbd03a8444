import code from '../../../shaders/embedding.wgsl?raw';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { checkBytes } from './checks.ts';
import { checkWeights, OCTET, weightSource } from './weights.ts';
import type { WeightBuffers, WeightShape } from './weights.ts';

const NAME = 'embedding';
const BINDINGS = { weights: 'read', scales: 'read', token_ids: 'read', hidden: 'read-write' } as const;

const WORKGROUP_OCTETS = 64;

/** Tokens [firstToken, firstToken + outFeatures) of the vocabulary; `inFeatures` is the hidden size. */
export interface EmbeddingShape extends WeightShape {
  readonly firstToken: number;
}

export interface EmbeddingBuffers extends WeightBuffers {
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
  checkWeights(NAME, shape, buffers);
  const { name, enables, code: weightsCode, overrides } = weightSource(shape.format, compiler.tuning);
  const source = { name: `${NAME} ${name}`, code: enables + weightsCode + code, bindings: BINDINGS };
  const kernel = await compiler.compile(source, {
    ...overrides,
    in_features: shape.inFeatures,
    first_token: shape.firstToken,
    part_tokens: shape.outFeatures,
  });
  const bound = bindKernel(compiler.device, kernel, {
    weights: buffers.weights,
    // Every binding needs a buffer; floats have no scales to read.
    scales: buffers.scales ?? buffers.weights,
    token_ids: buffers.tokenIds,
    hidden: buffers.hidden,
  });
  const workgroupsPerRow = Math.ceil(shape.inFeatures / OCTET / WORKGROUP_OCTETS);
  return {
    name: NAME,
    encode: (pass, step) => {
      if (step.rows === 0) return;
      checkBytes(NAME, 'token_ids', buffers.tokenIds, step.rows * Uint32Array.BYTES_PER_ELEMENT);
      checkBytes(
        NAME,
        'hidden',
        buffers.hidden,
        step.rows * shape.inFeatures * Float32Array.BYTES_PER_ELEMENT,
      );
      dispatchKernel(pass, bound, [workgroupsPerRow, step.rows]);
    },
  };
}

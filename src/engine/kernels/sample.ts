import code from '../../../shaders/sample.wgsl?raw';
import type { SamplingParams } from '../../protocol/sampling.ts';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { checkBytes, checkSize } from './checks.ts';

const source: KernelSource = {
  name: 'sample',
  code,
  bindings: { logits: 'read', sample_info: 'read', sampled: 'read-write' },
};

/** Token weights of top-p are 31-bit fixed point and counts of top-k exact in f32: room for far more than any tokenizer has. */
const MAX_VOCAB = 1 << 20;

/** As many as every adapter has; a row is one workgroup's work. */
const INVOCATIONS = 256;
/** Up to here a quarter of them is faster: barriers cost more than the tokens. */
const SMALL_VOCAB = 4096;

/** Bytes per sampled row in `sampleInfo`. */
export const SAMPLE_INFO_BYTES = 32;
/** Bytes per sampled row in `sampled`. */
export const SAMPLED_BYTES = 8;

/** One row to sample. */
export interface SampleRow {
  /** Row of the logits. */
  readonly headRow: number;
  /** Position of the token to be drawn: with the seed it decides the draw. */
  readonly position: number;
  readonly params: Pick<SamplingParams, 'temperature' | 'topK' | 'topP' | 'seed'>;
}

export interface SampledToken {
  readonly tokenId: number;
  /** Under the unmodified softmax; NaN when the logits had a NaN or no finite largest one, and the token means nothing. */
  readonly logProbability: number;
}

export interface SampleBuffers {
  /** f32 [head rows, vocab]. */
  readonly logits: GPUBuffer;
  /** `SAMPLE_INFO_BYTES` per sampled row, from `encodeSampleRows`. */
  readonly sampleInfo: GPUBuffer;
  /** `SAMPLED_BYTES` per sampled row, for `decodeSampled`. */
  readonly sampled: GPUBuffer;
}

/**
 * Draws one token per sampled row of a step.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createSample(
  compiler: KernelCompiler,
  shape: { readonly vocabSize: number },
  buffers: SampleBuffers,
): Promise<StepKernel> {
  const { name } = source;
  checkSize(name, 'vocabSize', shape.vocabSize, { max: MAX_VOCAB });
  const kernel = await compiler.compile(source, {
    vocab: shape.vocabSize,
    invocations: shape.vocabSize <= SMALL_VOCAB ? INVOCATIONS / 4 : INVOCATIONS,
  });
  const bound = bindKernel(compiler.device, kernel, {
    logits: buffers.logits,
    sample_info: buffers.sampleInfo,
    sampled: buffers.sampled,
  });
  return {
    name,
    encode: (pass, step) => {
      if (step.sampleRows === 0) return;
      const logitsBytes = step.headRows * shape.vocabSize * Float32Array.BYTES_PER_ELEMENT;
      checkBytes(name, 'logits', buffers.logits, logitsBytes);
      checkBytes(name, 'sample_info', buffers.sampleInfo, step.sampleRows * SAMPLE_INFO_BYTES);
      checkBytes(name, 'sampled', buffers.sampled, step.sampleRows * SAMPLED_BYTES);
      dispatchKernel(pass, bound, [step.sampleRows]);
    },
  };
}

/** The `sample_info` table: per row u32 head row, f32 temperature, u32 top-k, f32 top-p, u32 seed, u32 position, 8 bytes of padding. */
export function encodeSampleRows(rows: readonly SampleRow[]): ArrayBuffer {
  const bytes = new ArrayBuffer(rows.length * SAMPLE_INFO_BYTES);
  const view = new DataView(bytes);
  rows.forEach(({ headRow, position, params }, index) => {
    const start = index * SAMPLE_INFO_BYTES;
    view.setUint32(start, headRow, true);
    view.setFloat32(start + 4, params.temperature, true);
    view.setUint32(start + 8, params.topK, true);
    view.setFloat32(start + 12, params.topP, true);
    view.setUint32(start + 16, params.seed, true);
    view.setUint32(start + 20, position, true);
  });
  return bytes;
}

/** @param bytes what was read back from `sampled`. */
export function decodeSampled(bytes: ArrayBuffer): SampledToken[] {
  const view = new DataView(bytes);
  return Array.from({ length: bytes.byteLength / SAMPLED_BYTES }, (_, index) => ({
    tokenId: view.getUint32(index * SAMPLED_BYTES, true),
    logProbability: view.getFloat32(index * SAMPLED_BYTES + 4, true),
  }));
}

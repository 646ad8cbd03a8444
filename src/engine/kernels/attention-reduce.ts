import code from '../../../shaders/attention_reduce.wgsl?raw';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { checkAttentionShape } from './attention-shape.ts';
import {
  checkDecodeShape,
  checkReduceStep,
  decodeSplits,
  endsRows,
  SERIAL_PARTS,
} from './attention-splits.ts';
import type { AttentionReduceBuffers, DecodeShape } from './attention-splits.ts';

const source: KernelSource = {
  name: 'attention_reduce',
  code,
  bindings: {
    decode_info: 'read',
    partials: 'read',
    partial_stats: 'read',
    sinks: 'read',
    attended: 'read-write',
  },
};

const WORKGROUP_INVOCATIONS = 64;
const ELEMENTS_PER_INVOCATION = 4;

/**
 * Merges what `attention_decode` left for the splits of every decode row, if any row has several.
 * @param shape the one that the decode kernel was made with.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createAttentionReduce(
  compiler: KernelCompiler,
  shape: DecodeShape,
  buffers: AttentionReduceBuffers,
): Promise<StepKernel> {
  const { name } = source;
  const decodeEndsRows = endsRows(compiler.tuning, buffers.sinks);
  checkAttentionShape(name, shape);
  checkDecodeShape(name, shape);
  const kernel = await compiler.compile(source, {
    heads: shape.headCount,
    head_dim: shape.headDim,
    window: shape.window ?? 0,
    has_sinks: buffers.sinks === null ? 0 : 1,
    split_tokens: shape.splitTokens,
    ends_rows: decodeEndsRows ? 1 : 0,
    ...(compiler.tuning.isSoftware
      ? { parts: SERIAL_PARTS, max_splits: SERIAL_PARTS }
      : { parts: 0, max_splits: decodeSplits(shape, shape.contextLength) }),
  });
  const bound = bindKernel(compiler.device, kernel, {
    decode_info: buffers.decodeInfo,
    partials: buffers.partials,
    partial_stats: buffers.partialStats,
    // Every binding needs a buffer; without sinks this one is never read.
    sinks: buffers.sinks ?? buffers.partials,
    attended: buffers.attended,
  });
  const invocationsPerRow = (shape.headCount * shape.headDim) / ELEMENTS_PER_INVOCATION;
  const workgroupsPerRow = Math.ceil(invocationsPerRow / WORKGROUP_INVOCATIONS);
  return {
    name,
    encode: (pass, step) => {
      if (step.decodeRows === 0) return;
      if (decodeEndsRows && decodeSplits(shape, step.maxDecodeKeys) === 1) return;
      checkReduceStep(name, shape, buffers, step);
      dispatchKernel(pass, bound, [workgroupsPerRow, step.decodeRows]);
    },
  };
}

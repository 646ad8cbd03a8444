import attentionCode from '../../../shaders/attention.wgsl?raw';
import cacheCode from '../../../shaders/attention_cache.wgsl?raw';
import code from '../../../shaders/attention_decode.wgsl?raw';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { createSerialDecode } from './attention-serial.ts';
import { cacheOverrides, checkAttentionShape, scoreOverrides } from './attention-shape.ts';
import type { AttentionDecodeBuffers } from './attention-shape.ts';
import { checkDecodeShape, checkDecodeStep, decodeSplits, endsRows } from './attention-splits.ts';
import type { DecodeShape } from './attention-splits.ts';

const source: KernelSource = {
  name: 'attention_decode',
  code: attentionCode + cacheCode + code,
  bindings: {
    step: 'uniform',
    qkv: 'read',
    keys: 'read',
    values: 'read',
    block_tables: 'read',
    decode_info: 'read',
    partials: 'read-write',
    partial_stats: 'read-write',
    attended: 'read-write',
  },
};

/** Query heads of one KV head that share its keys and values in a workgroup: the components of a vec4. */
const MAX_GROUP_HEADS = 4;
/** One warp of most GPUs; a head of more than 128 elements needs more. */
const MIN_INVOCATIONS = 32;
const ELEMENTS_PER_INVOCATION = 4;

/**
 * Attends the decode rows of a step to their cached keys, split by split; `createAttentionReduce` gives the kernel that must follow,
 * made with the same buffers.
 * A software adapter gets a kernel of its own, behind the same buffers.
 * Block tables must lie within the cache and hold as many tokens as `decode_info` says: the caller checks its batch.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createAttentionDecode(
  compiler: KernelCompiler,
  shape: DecodeShape,
  buffers: AttentionDecodeBuffers,
): Promise<StepKernel> {
  if (compiler.tuning.isSoftware) return createSerialDecode(compiler, shape, buffers);
  const { name } = source;
  checkAttentionShape(name, shape);
  checkDecodeShape(name, shape);
  const headsPerKvHead = shape.headCount / shape.kvHeadCount;
  const groupHeads = Math.min(MAX_GROUP_HEADS, headsPerKvHead);
  const groupsPerKvHead = Math.ceil(headsPerKvHead / groupHeads);
  const kernel = await compiler.compile(source, {
    ...cacheOverrides(shape),
    ...scoreOverrides(shape),
    split_tokens: shape.splitTokens,
    max_splits: decodeSplits(shape, shape.contextLength),
    group_heads: groupHeads,
    groups_per_kv_head: groupsPerKvHead,
    ends_rows: endsRows(compiler.tuning, buffers.sinks) ? 1 : 0,
    invocations: Math.max(MIN_INVOCATIONS, shape.headDim / ELEMENTS_PER_INVOCATION),
  });
  const bound = bindKernel(compiler.device, kernel, {
    step: buffers.step,
    qkv: buffers.qkv,
    keys: buffers.keys,
    values: buffers.values,
    block_tables: buffers.blockTables,
    decode_info: buffers.decodeInfo,
    partials: buffers.partials,
    partial_stats: buffers.partialStats,
    attended: buffers.attended,
  });
  return {
    name,
    encode: (pass, step) => {
      if (step.decodeRows === 0) return;
      checkDecodeStep(name, shape, buffers, step);
      dispatchKernel(pass, bound, [
        decodeSplits(shape, step.maxDecodeKeys),
        shape.kvHeadCount * groupsPerKvHead,
        step.decodeRows,
      ]);
    },
  };
}

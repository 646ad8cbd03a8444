import attentionCode from '../../../shaders/attention.wgsl?raw';
import cacheCode from '../../../shaders/attention_cache.wgsl?raw';
import code from '../../../shaders/attention_prefill.wgsl?raw';
import { BLOCK_TOKENS } from '../batch.ts';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import { PREFILL_TILE_ROWS } from '../step.ts';
import type { StepKernel } from '../step.ts';
import { createSerialPrefill } from './attention-serial.ts';
import { cacheOverrides, checkAttentionShape, checkPrefillStep, scoreOverrides } from './attention-shape.ts';
import type { AttentionPrefillBuffers, AttentionShape } from './attention-shape.ts';

const source: KernelSource = {
  name: 'attention_prefill',
  code: attentionCode + cacheCode + code,
  bindings: {
    step: 'uniform',
    qkv: 'read',
    keys: 'read',
    values: 'read',
    block_tables: 'read',
    prefill_info: 'read',
    sinks: 'read',
    attended: 'read-write',
  },
};

/** Query heads of one KV head that share its keys and values in a workgroup. */
const MAX_GROUP_HEADS = 4;
const ROW_QUADS = PREFILL_TILE_ROWS / 4;
const VEC4_BYTES = 16;
/** Every adapter has it. */
const MAX_WORKGROUP_BYTES = 16 * 1024;

/**
 * Attends the query tiles of a step to their cached keys, causally. A software adapter gets a kernel of its own.
 * Block tables must lie within the cache and hold every position of a tile: the caller checks its batch.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createAttentionPrefill(
  compiler: KernelCompiler,
  shape: AttentionShape,
  buffers: AttentionPrefillBuffers,
): Promise<StepKernel> {
  if (compiler.tuning.isSoftware) return createSerialPrefill(compiler, shape, buffers);
  const { name } = source;
  checkAttentionShape(name, shape);
  const layout = prefillLayout(shape);
  const kernel = await compiler.compile(source, {
    ...cacheOverrides(shape),
    ...scoreOverrides(shape),
    has_sinks: buffers.sinks === null ? 0 : 1,
    ...layout,
  });
  const bound = bindKernel(compiler.device, kernel, {
    step: buffers.step,
    qkv: buffers.qkv,
    keys: buffers.keys,
    values: buffers.values,
    block_tables: buffers.blockTables,
    prefill_info: buffers.prefillInfo,
    // Every binding needs a buffer; without sinks this one is never read.
    sinks: buffers.sinks ?? buffers.qkv,
    attended: buffers.attended,
  });
  return {
    name,
    encode: (pass, step) => {
      if (step.prefillTiles === 0) return;
      checkPrefillStep(name, shape, buffers, step);
      dispatchKernel(pass, bound, [shape.kvHeadCount * layout.groups_per_kv_head, step.prefillTiles]);
    },
  };
}

/** How a workgroup shares out the query heads of a KV head, as the shader's overrides. */
function prefillLayout({ headDim, headCount, kvHeadCount }: AttentionShape): {
  readonly group_heads: number;
  readonly groups_per_kv_head: number;
  readonly lane_heads: number;
  readonly tile_tokens: number;
  readonly invocations: number;
} {
  const headsPerKvHead = headCount / kvHeadCount;
  const groups = Math.ceil(headsPerKvHead / MAX_GROUP_HEADS);
  const groupHeads = Math.ceil(headsPerKvHead / groups);
  const quads = groupHeads * ROW_QUADS;
  // Keys, weights and maxima of a tile of a whole block.
  const blockBytes = (BLOCK_TOKENS * (headDim / 4 + 1 + quads) + quads) * VEC4_BYTES;
  const tileTokens = blockBytes <= MAX_WORKGROUP_BYTES ? BLOCK_TOKENS : BLOCK_TOKENS / 2;
  // An invocation scores two tokens against a quad, and sums up a column of all four quads of one or more heads.
  const invocations = Math.max(headDim, quads * (tileTokens / 2));
  return {
    group_heads: groupHeads,
    groups_per_kv_head: groups,
    lane_heads: Math.ceil(groupHeads / Math.floor(invocations / headDim)),
    tile_tokens: tileTokens,
    invocations,
  };
}

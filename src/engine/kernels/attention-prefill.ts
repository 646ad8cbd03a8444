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

/** Above this head dimension half a block of keys is staged, to stay within the 16 KiB of workgroup memory every adapter has. */
const WHOLE_BLOCK_MAX_HEAD_DIM = 192;

/** An invocation scores two of the tokens of a block against four of the queries of a tile. */
const SCORE_INVOCATIONS = (BLOCK_TOKENS / 2) * (PREFILL_TILE_ROWS / 4);

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
  const tileTokens = shape.headDim <= WHOLE_BLOCK_MAX_HEAD_DIM ? BLOCK_TOKENS : BLOCK_TOKENS / 2;
  const kernel = await compiler.compile(source, {
    ...cacheOverrides(shape),
    ...scoreOverrides(shape),
    has_sinks: buffers.sinks === null ? 0 : 1,
    tile_tokens: tileTokens,
    invocations: Math.max(shape.headDim, SCORE_INVOCATIONS),
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
      dispatchKernel(pass, bound, [shape.headCount, step.prefillTiles]);
    },
  };
}

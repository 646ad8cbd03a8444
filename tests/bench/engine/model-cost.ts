import type { Checkpoint } from '../../../src/model/checkpoint.ts';
import {
  EMBEDDING_TENSOR,
  HEAD_TENSOR,
  headTensorName,
  sliceTensors,
} from '../../../src/model/tensor-names.ts';
import type { WeightVariant } from './weight-variant.ts';

/** What a pass must do at least, whoever does it. */
export interface ModelCost {
  /** Weight bytes that one decoded token reads; the cache, small at short contexts, is left out. */
  readonly bytesPerToken: number;
  /** Of a prompt whose last row alone goes through the head; attention, small at short prompts, is left out. */
  readonly prefillFlops: number;
}

const FLOPS_PER_WEIGHT = 2;

export async function modelCost(
  checkpoint: Checkpoint,
  variant: WeightVariant,
  prefillTokens: number,
): Promise<ModelCost> {
  const { architecture } = checkpoint;
  const head = headTensorName(architecture);
  let bytesPerToken = 0;
  let prefillFlops = 0;
  for (const { name, shape } of sliceTensors(architecture, {
    layerStart: 0,
    layerEnd: architecture.layerCount,
  })) {
    // Of an embedding that is not the head too, a token reads one row.
    if (name === EMBEDDING_TENSOR && head === HEAD_TENSOR) continue;
    const elements = shape.reduce((product, size) => product * size, 1);
    bytesPerToken +=
      variant === 'f32' ? elements * Float32Array.BYTES_PER_ELEMENT : await checkpoint.sizeBytes(name);
    if (shape.length === 2) prefillFlops += FLOPS_PER_WEIGHT * elements * (name === head ? 1 : prefillTokens);
  }
  return { bytesPerToken, prefillFlops };
}

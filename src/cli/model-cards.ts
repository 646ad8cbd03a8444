import { cacheBlockBytes } from '../engine/kernels/attention-shape.ts';
import { EMBEDDING_TENSOR, FINAL_NORM_TENSOR, headTensorName, layerTensors } from '../model/tensor-names.ts';
import type { TensorSpec } from '../model/tensor-names.ts';
import type { Checkpoint } from '../model/checkpoint.ts';
import type { ModelId } from '../protocol/ids.ts';
import type { ModelCard } from '../protocol/signaling.ts';
import { BLOCK_TOKENS } from '../protocol/stage.ts';

/** What stages make of a model when they load it: replicas must agree on all of it. */
export type ModelFormats = Pick<ModelCard, 'quantization' | 'cache' | 'activations'>;
export const STORED_FORMATS: ModelFormats = { quantization: 'none', cache: 'f32', activations: 'f32' };

/**
 * What the scheduler needs to know of a model. Looks up every tensor, so a checkpoint that lacks one is found before any
 * tab loads it. A tied head counts its own copy of the embedding, which only a slice with both ends can save.
 * @param url the model's folder or GGUF file, as pages find it.
 * @param formats whose quantization is that of `checkpoint`: its sizes already are those after it.
 * @throws SkeinError `model-missing` or `model-corrupt`, naming file and tensor.
 */
export async function modelCard(
  id: ModelId,
  url: string,
  checkpoint: Checkpoint,
  formats: ModelFormats,
  signal?: AbortSignal,
): Promise<ModelCard> {
  const { architecture } = checkpoint;
  const sizeOf = (name: string) => checkpoint.sizeBytes(name, signal);
  const layerSizes: number[] = [];
  for (let layer = 0; layer < architecture.layerCount; layer += 1) {
    layerSizes.push(await sumSizes(layerTensors(architecture, layer), sizeOf));
  }
  const headBytes = (await sizeOf(FINAL_NORM_TENSOR)) + (await sizeOf(headTensorName(architecture)));
  return {
    id,
    url,
    ...formats,
    layerCount: architecture.layerCount,
    hiddenSize: architecture.hiddenSize,
    contextLength: architecture.contextLength,
    bytesPerLayer: Math.max(...layerSizes),
    embeddingBytes: await sizeOf(EMBEDDING_TENSOR),
    headBytes,
    multiplyAddsPerLayer: matrixElements(layerTensors(architecture, 0)),
    headMultiplyAdds: architecture.hiddenSize * architecture.vocabSize,
    cacheBytesPerTokenPerLayer:
      (2 * cacheBlockBytes({ ...architecture, cacheFormat: formats.cache })) / BLOCK_TOKENS,
  };
}

/** Every element of a matrix is multiplied once per token; vectors do not count. */
function matrixElements(tensors: readonly TensorSpec[]): number {
  return tensors
    .filter(({ shape }) => shape.length === 2)
    .reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
}

async function sumSizes(
  tensors: readonly TensorSpec[],
  sizeOf: (name: string) => Promise<number>,
): Promise<number> {
  let sum = 0;
  for (const { name } of tensors) sum += await sizeOf(name);
  return sum;
}

import type { Checkpoint } from '../../../src/model/checkpoint.ts';
import { denseFloats } from '../../../src/model/dense-floats.ts';
import { quantizedCheckpoint } from '../../../src/model/quantize.ts';

/** The two ways both engines hold the same weights. */
export const WEIGHT_VARIANTS = ['f32', 'int4'] as const;
export type WeightVariant = (typeof WEIGHT_VARIANTS)[number];

/** The same bytes wherever it runs: the page loads them into our engine, Node writes them into the graph of the other. */
export function weightVariant(checkpoint: Checkpoint, variant: WeightVariant): Checkpoint {
  return variant === 'int4' ? quantizedCheckpoint(checkpoint, 'int4') : widened(checkpoint);
}

/** Two-byte weights as f32, which costs our engine the bytes that the other cannot save. */
function widened(checkpoint: Checkpoint): Checkpoint {
  return {
    architecture: checkpoint.architecture,
    quantization: checkpoint.quantization,
    has: (name) => checkpoint.has(name),
    sizeBytes: (name, signal) => checkpoint.sizeBytes(name, signal),
    async read(name, shape, signal) {
      const tensor = await checkpoint.read(name, shape, signal);
      if (tensor.kind === 'quantized' || tensor.format === 'f32') return tensor;
      return { ...tensor, format: 'f32', bytes: new Uint8Array(denseFloats(tensor).buffer) };
    },
  };
}

import type { Architecture } from '../model/architecture.ts';
import { SkeinError } from '../protocol/errors.ts';
import { MAX_HEAD_DIM } from './kernels/attention-shape.ts';

/** Kernels read weights and rows eight elements at a time. */
const VECTOR_ELEMENTS = 8;

/** @throws SkeinError `model-unsupported` naming the config field whose size the kernels do not take. */
export function checkSupported(architecture: Architecture): void {
  const { hiddenSize, intermediateSize, headDim } = architecture;
  const sizes = { hidden_size: hiddenSize, intermediate_size: intermediateSize, head_dim: headDim };
  for (const [field, value] of Object.entries(sizes)) {
    if (value % VECTOR_ELEMENTS === 0) continue;
    throw new SkeinError(
      'model-unsupported',
      `config.json: ${field} is ${value}; the kernels take multiples of ${VECTOR_ELEMENTS}.`,
      { data: { field, value } },
    );
  }
  if (headDim > MAX_HEAD_DIM) {
    throw new SkeinError(
      'model-unsupported',
      `config.json: head_dim is ${headDim}; the attention kernels take up to ${MAX_HEAD_DIM}.`,
      { data: { field: 'head_dim', value: headDim } },
    );
  }
}

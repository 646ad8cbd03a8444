import type { Activations } from '../protocol/activations.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { Checkpoint } from './checkpoint.ts';

/**
 * int8 activations are for products with integer codes: asked for on a model that has none they would silently do nothing.
 * @param checkpoint as it is loaded, quantised or not.
 * @throws SkeinError `bad-argument` for int8 activations of a model whose matrices are floats.
 */
export function checkActivations(
  checkpoint: Pick<Checkpoint, 'quantization'>,
  activations: Activations,
): void {
  if (activations === 'f32' || checkpoint.quantization !== null) return;
  throw new SkeinError(
    'bad-argument',
    'int8 activations are multiplied with quantised matrices, and those of this model are floats. Quantise it too (int8 or int4), or leave out the int8 activations.',
    { data: { activations } },
  );
}

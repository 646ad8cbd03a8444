/**
 * What quantised matrices are multiplied with: `f32` the activations as they are, `int8` rounded in groups of 32 with a scale each, for
 * products of integers. It changes tokens, so it is a property of a model on a mesh and part of its card: replicas must do the same.
 */
export const ACTIVATIONS = ['f32', 'int8'] as const;
export type Activations = (typeof ACTIVATIONS)[number];

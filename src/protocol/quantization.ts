/**
 * What is done to a model's matrices when a slice loads them: `none` keeps them as stored, `int8` and `int4` make groups of
 * 32 integers with a scale each. A stage and the scheduler must mean the same, so it is part of a model's card.
 */
export const QUANTIZATIONS = ['none', 'int8', 'int4'] as const;
export type Quantization = (typeof QUANTIZATIONS)[number];

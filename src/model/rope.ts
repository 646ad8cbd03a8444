import type { Architecture, Llama3RopeScaling } from './architecture.ts';

/**
 * Radians per position by which the pair `(i, i + headDim / 2)` of a head turns.
 * @returns f64 [headDim / 2], falling.
 */
export function ropeInverseFrequencies(architecture: Architecture): Float64Array {
  const { headDim, ropeTheta, ropeScaling } = architecture;
  const frequencies = new Float64Array(headDim / 2);
  for (let pair = 0; pair < frequencies.length; pair++) {
    const frequency = 1 / ropeTheta ** ((2 * pair) / headDim);
    frequencies[pair] = ropeScaling ? scaleLlama3(frequency, ropeScaling) : frequency;
  }
  return frequencies;
}

/**
 * Waves that never finished a turn in the original context are slowed by `factor`, waves with many turns stay, and those between
 * are blended. Source: `_compute_llama3_parameters` of Hugging Face transformers.
 */
function scaleLlama3(frequency: number, scaling: Llama3RopeScaling): number {
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalContextLength } = scaling;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < originalContextLength / highFrequencyFactor) return frequency;
  if (wavelength > originalContextLength / lowFrequencyFactor) return frequency / factor;
  const smooth =
    (originalContextLength / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return (1 - smooth) * (frequency / factor) + smooth * frequency;
}

import { atLeast, atMost, exactly } from '../report.ts';
import type { Cell, Check } from '../report.ts';
import type { ModelCost } from './model-cost.ts';
import type { EngineCaseResult } from './worker.ts';

export type EngineTable = Readonly<Record<string, Cell>>[];

const DECODE_SPEEDUP = 2;
const PREFILL_SPEEDUP = 1.5;
/** Relative L2. The same numbers summed in f32 in other orders, through up to 12 layers, end 1e-6 to 1e-5 apart. */
const LOGITS_TOLERANCE = 1e-4;
/** Activations rounded to 8 bits, which the other engine may do at accuracy level 4, and then does on its own account. */
const ROUNDED_LOGITS_TOLERANCE = 0.1;

/** @param result ours first */
export function caseRows(name: string, { engines, bound }: EngineCaseResult, cost: ModelCost): EngineTable {
  const decodeBoundMs = (1000 * cost.bytesPerToken) / bound.copyBytesPerSecond;
  const prefillBoundMs = (1000 * cost.prefillFlops) / bound.flopsPerSecond;
  return engines.map(({ name: engine, decode, prefill, logitsError }) => ({
    case: name,
    engine,
    'decode ms/token': decode.medianMs,
    '% of copy bandwidth': (100 * decodeBoundMs) / decode.medianMs,
    'prefill ms': prefill.medianMs,
    '% of multiply-add rate': (100 * prefillBoundMs) / prefill.medianMs,
    'decode runs': decode.samplesMs.length,
    'prefill runs': prefill.samplesMs.length,
    'logits error': logitsError,
  }));
}

/**
 * Outputs first; then how much faster ours is than the fastest other, at each of the two.
 * @param result ours first, then the other engine as it comes, then with what makes it faster or less exact.
 * @param golden what the weights answer elsewhere, where that is known.
 */
export function caseChecks(
  name: string,
  { engines }: EngineCaseResult,
  golden: readonly number[] | null,
): Check[] {
  const [ours, ...others] = engines;
  const [exact, ...rounded] = others;
  if (ours === undefined || exact === undefined) throw new RangeError('Two engines make a comparison.');
  const fastestMs = (of: 'decode' | 'prefill') => Math.min(...others.map((engine) => engine[of].medianMs));
  return [
    exactly(`${name}: tokens that differ`, differences(ours.answer, exact.answer), 0),
    ...(golden === null
      ? []
      : [exactly(`${name}: tokens that differ from the golden ones`, differences(ours.answer, golden), 0)]),
    atMost(`${name}: logits error`, exact.logitsError, LOGITS_TOLERANCE),
    ...rounded.map((engine) =>
      atMost(`${name}: logits error of ${engine.name}`, engine.logitsError, ROUNDED_LOGITS_TOLERANCE),
    ),
    atLeast(`${name}: decode speed-up`, fastestMs('decode') / ours.decode.medianMs, DECODE_SPEEDUP),
    atLeast(`${name}: prefill speed-up`, fastestMs('prefill') / ours.prefill.medianMs, PREFILL_SPEEDUP),
  ];
}

/** Of two lists; what one of them lacks differs too. */
function differences(a: readonly number[], b: readonly number[]): number {
  const length = Math.max(a.length, b.length);
  return Array.from({ length }, (_, index) => index).filter((index) => a[index] !== b[index]).length;
}

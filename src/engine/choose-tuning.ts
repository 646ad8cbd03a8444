import type { EngineDevice } from './device.ts';
import { GpuMemory } from './gpu-memory.ts';
import { KernelCompiler } from './kernel.ts';
import { createMatvecKernel } from './kernels/linear.ts';
import type { Activations } from '../protocol/activations.ts';
import { TimedProduct } from './timed-product.ts';
import { parseTuning, tuningOf } from './tuning.ts';
import type { Tuning } from './tuning.ts';
import type { MatrixFormat } from './weight-format.ts';

/** Where a choice is kept between visits. What it gives back may be anything: it is checked. */
export interface TuningStore {
  load(key: string): Promise<unknown>;
  save(key: string, tuning: Tuning): Promise<void>;
}

/** Counts up when kernels change so much that old choices mean nothing. */
const KERNELS_VERSION = 1;
/** A projection as decoding has it: large enough that the start of a dispatch does not decide. */
const FEATURES = 1024;
const INT4: MatrixFormat = { codes: 'u4', zero: 8, groupSize: 32, scales: 'f16' };
/** A token alone, and a few together. */
const ROW_COUNTS = [1, 4] as const;
/** Of each candidate and row count; the fastest counts. */
const TRIES = 4;
const DISPATCHES_PER_TRY = 3;

/**
 * The layouts worth a measurement on this adapter, the guess first. Whether a CPU plays the GPU is not measured: the adapter says so,
 * and all of a slice's kernels are built on it.
 */
export function tuningCandidates(guess: Tuning): Tuning[] {
  const candidates = [guess];
  if (guess.usesSubgroups) candidates.push({ ...guess, usesSubgroups: false });
  if (guess.usesF16) candidates.push({ ...guess, usesF16: false });
  // Without shuffles a team may be of any width; narrow ones leave less to add up.
  if (!guess.isSoftware) candidates.push({ ...guess, usesSubgroups: false, subgroupSize: 8 });
  return candidates;
}

/**
 * Picks a layout for the kernels of this adapter by running one representative product in each candidate, some 0.3 s once, and
 * keeps the choice.
 * @param store null measures every time.
 * @throws SkeinError `device-lost`, `out-of-memory`.
 */
export async function chooseTuning(engine: EngineDevice, store: TuningStore | null): Promise<Tuning> {
  const guess = tuningOf(engine.device);
  const candidates = tuningCandidates(guess);
  if (candidates.length === 1) return guess;
  return fastest(engine, candidates, { format: 'f16', activations: 'f32' }, store);
}

/**
 * The layout that the device has now, with the products of int8 activations made as is faster on it: by the builtin, where there is
 * one, or without. The results are the same to the bit.
 * @throws SkeinError `device-lost`, `out-of-memory`.
 */
export async function chooseInt8Tuning(engine: EngineDevice, store: TuningStore | null): Promise<Tuning> {
  const { tuning } = KernelCompiler.of(engine.device);
  if (!tuningOf(engine.device).usesPackedDot) return tuning;
  const candidates = [
    { ...tuning, usesPackedDot: true },
    { ...tuning, usesPackedDot: false },
  ];
  return fastest(engine, candidates, { format: INT4, activations: 'int8' }, store);
}

/** Which product is measured. */
interface Probe {
  readonly format: MatrixFormat;
  readonly activations: Activations;
}

async function fastest(
  engine: EngineDevice,
  candidates: readonly Tuning[],
  probe: Probe,
  store: TuningStore | null,
): Promise<Tuning> {
  const [guess = tuningOf(engine.device)] = candidates;
  const { subgroupSize, isSoftware, usesSubgroups, usesF16 } = guess;
  const traits = [subgroupSize, isSoftware, usesSubgroups, usesF16];
  const key = [KERNELS_VERSION, probe.activations, engine.adapterName, ...traits].join(' ');
  const kept = parseTuning(await store?.load(key));
  // A choice of another build may name a layout that this device has no feature for.
  const known = candidates.find((candidate) => kept !== null && isSame(candidate, kept));
  if (known !== undefined) return known;
  let best = guess;
  let bestMs = Infinity;
  for (const candidate of candidates) {
    const ms = await measure(engine.device, candidate, probe);
    if (ms < bestMs) [best, bestMs] = [candidate, ms];
  }
  await store?.save(key, best);
  return best;
}

function isSame(one: Tuning, other: Tuning): boolean {
  return (
    one.subgroupSize === other.subgroupSize &&
    one.isSoftware === other.isSoftware &&
    one.usesSubgroups === other.usesSubgroups &&
    one.usesF16 === other.usesF16 &&
    one.usesPackedDot === other.usesPackedDot
  );
}

/** Milliseconds of the product at all row counts. */
async function measure(device: GPUDevice, tuning: Tuning, { format, activations }: Probe): Promise<number> {
  const memory = new GpuMemory(device);
  try {
    const weights = { format, inFeatures: FEATURES, outFeatures: FEATURES };
    const product = await TimedProduct.allocate(memory, weights, Math.max(...ROW_COUNTS));
    const compiler = new KernelCompiler(device, tuning);
    const kernel = await createMatvecKernel(compiler, { ...product.shape, activations }, product.buffers);
    let totalMs = 0;
    for (const rows of ROW_COUNTS) {
      await product.time(kernel, rows, 1);
      let bestMs = Infinity;
      for (let attempt = 0; attempt < TRIES; attempt++) {
        bestMs = Math.min(bestMs, await product.time(kernel, rows, DISPATCHES_PER_TRY));
      }
      totalMs += bestMs;
    }
    return totalMs;
  } finally {
    memory.dispose();
  }
}

import type { BenchOptions } from './bench-command.ts';
import { measurePlacement, measureQuality } from './placement.ts';
import { benchReport } from './report.ts';
import type { BenchReport } from './report.ts';
import { measureRouting } from './routing.ts';

/** How long the scheduler takes to decide, by the size of the mesh, and how good its placements are. Nothing but the CPU takes part. */
export function run({ onProgress }: BenchOptions): Promise<BenchReport> {
  const placement = measurePlacement(onProgress);
  const routing = measureRouting(onProgress);
  const quality = measureQuality(onProgress);
  const tables = [placement.table, routing.table, quality.table];
  const checks = [...placement.checks, ...routing.checks, ...quality.checks];
  return Promise.resolve(benchReport('scheduler', 'CPU', tables, checks));
}

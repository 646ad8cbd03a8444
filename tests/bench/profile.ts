import { resolve } from 'node:path';
import { BLOCK_TOKENS } from '../../src/engine/batch.ts';
import type { BatchSequence, RaggedBatch } from '../../src/engine/batch.ts';
import { GpuSlice } from '../../src/engine/gpu-slice.ts';
import { PROFILER_FEATURE, StepProfiler, summarizeTimes } from '../../src/engine/profiler.ts';
import type { DispatchTime } from '../../src/engine/profiler.ts';
import { fileSourceFor } from '../../src/model/open-source.ts';
import { openCheckpoint } from '../../src/model/open-checkpoint.ts';
import { quantizedCheckpoint } from '../../src/model/quantize.ts';
import type { Quantization } from '../../src/protocol/quantization.ts';
import { GREEDY } from '../../src/protocol/sampling.ts';
import type { BenchOptions } from './bench-command.ts';
import { openBenchDevice } from './gpu.ts';
import { atLeast, atMost, benchReport } from './report.ts';
import type { BenchReport, Check, Table } from './report.ts';
import { interleave, timed } from './timing.ts';

export interface ProfileOptions extends BenchOptions {
  /** A folder, URL or hub id; the embedded model without it. */
  readonly model?: string;
  /** Only a decode step of this many sequences. */
  readonly rows?: number;
  readonly quantize: Quantization;
}

interface ProfiledStep {
  readonly name: string;
  readonly batch: RaggedBatch;
}

const EMBEDDED_MODEL = resolve(import.meta.dirname, '../../public/models/skein-tiny');
const DECODE_SEQUENCES = [1, 8, 32];
const CONTEXT_TOKENS = 64;
const PREFILL_ROWS = 64;
const ROUNDS = 5;
/** Of a profiled step's time, how much its kernels are at least; the rest is writing tables, encoding, submitting and reading back. */
const LEAST_KERNEL_SHARE = 0.3;

/** Where the time of a step goes, by the GPU's own clock. */
export async function run({ model, rows, quantize, onProgress }: ProfileOptions): Promise<BenchReport> {
  const checkpoint = quantizedCheckpoint(
    await openCheckpoint(fileSourceFor(model ?? EMBEDDED_MODEL)),
    quantize,
  );
  const { layerCount, contextLength } = checkpoint.architecture;
  const steps = profiledSteps(rows === undefined ? DECODE_SEQUENCES : [rows], rows === undefined);
  const sequences = Math.max(...steps.map(({ batch }) => batch.sequences.length));
  const engine = await openBenchDevice([PROFILER_FEATURE]);
  onProgress('Loading …');
  const slice = await GpuSlice.load({
    device: engine,
    checkpoint,
    slice: { layerStart: 0, layerEnd: layerCount },
    precision: 'f16',
    cacheTokens: Math.min(contextLength, CONTEXT_TOKENS + BLOCK_TOKENS) * sequences,
    maxBatchRows: Math.max(PREFILL_ROWS, sequences),
    maxBatchSequences: sequences,
  });
  const profiler = new StepProfiler(engine.device);
  const tables: Table[] = [];
  const checks: Check[] = [];
  for (const step of steps) {
    onProgress(step.name);
    const { table, share } = await profileStep(slice, profiler, step);
    tables.push(table);
    checks.push(
      atMost(`${step.name}: kernels as a share of the step`, share, 1),
      atLeast(`${step.name}: kernels as a share of the step`, share, LEAST_KERNEL_SHARE),
    );
  }
  profiler.dispose();
  slice.dispose();
  engine.device.destroy();
  return benchReport('profile', engine.adapterName, tables, checks);
}

function profiledSteps(decodeSequences: readonly number[], withPrefill: boolean): ProfiledStep[] {
  const decode = decodeSequences.map((count) => ({
    name: `decode, ${count} sequence${count === 1 ? '' : 's'} of ${CONTEXT_TOKENS} tokens`,
    batch: batchOf(
      Array.from({ length: count }, () => 1),
      CONTEXT_TOKENS,
    ),
  }));
  const prefill = { name: `prefill of ${PREFILL_ROWS} tokens`, batch: batchOf([PREFILL_ROWS], 0) };
  return withPrefill ? [...decode, prefill] : decode;
}

/** Sequences side by side, whose cache holds whatever it holds: kernels take as long over any numbers. */
function batchOf(rowCounts: readonly number[], cacheLength: number): RaggedBatch {
  let firstBlock = 0;
  const sequences = rowCounts.map((rowCount): BatchSequence => {
    const blocks = Math.ceil((cacheLength + rowCount) / BLOCK_TOKENS);
    const blockTable = Array.from({ length: blocks }, (_, block) => firstBlock + block);
    firstBlock += blocks;
    return { rowCount, cacheLength, blockTable, head: { kind: 'sample', params: GREEDY } };
  });
  const rows = rowCounts.reduce((sum, count) => sum + count, 0);
  return {
    sequences,
    input: { kind: 'tokens', tokenIds: Uint32Array.from({ length: rows }, (_, row) => row) },
  };
}

/** @returns the table, and what share of the profiled steps' wall time their kernels were */
async function profileStep(
  slice: GpuSlice,
  profiler: StepProfiler,
  { name, batch }: ProfiledStep,
): Promise<{ table: Table; share: number }> {
  const steps: DispatchTime[][] = [];
  const profiled = timed('profiled', () => slice.forward(batch, profiler));
  const [plainTiming, profiledTiming] = await interleave(
    [
      timed('plain', () => slice.forward(batch)),
      {
        name: profiled.name,
        run: async () => {
          const elapsedMs = await profiled.run();
          steps.push(await profiler.times());
          return elapsedMs;
        },
      },
    ],
    { rounds: ROUNDS, warmUps: 1 },
  );
  // Every step's kernels against the same step's time: a neighbour that slows a step slows its kernels.
  const timedSteps = steps.slice(-ROUNDS);
  const wallMs = profiledTiming?.samplesMs.reduce((sum, ms) => sum + ms, 0) ?? NaN;
  const kernelsMs = timedSteps.flat().reduce((sum, { ms }) => sum + ms, 0);
  const rows = summarizeTimes(timedSteps).map(({ kernel, workgroups, dispatches, ms, share }) => ({
    kernel,
    workgroups,
    dispatches,
    'ms per step': ms,
    '%': 100 * share,
  }));
  const times = [
    `${(kernelsMs / ROUNDS).toFixed(2)} ms in kernels`,
    `${profiledTiming?.medianMs.toFixed(2) ?? '?'} ms profiled`,
    `${plainTiming?.medianMs.toFixed(2) ?? '?'} ms plain`,
  ];
  return { table: { title: `${name}: ${times.join(', ')}`, rows }, share: kernelsMs / wallMs };
}

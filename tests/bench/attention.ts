import { KernelCompiler } from '../../src/engine/kernel.ts';
import type { CacheFormat } from '../../src/engine/kernels/attention-shape.ts';
import { decodeSplitTokens } from '../../src/engine/kernels/attention-splits.ts';
import type { DecodeShape } from '../../src/engine/kernels/attention-splits.ts';
import {
  attendOnGpu,
  attentionCase,
  attentionKernels,
  freeAttention,
  uploadAttention,
} from '../kernels/attention-case.ts';
import type { AttentionCase, AttentionSequence } from '../kernels/attention-case.ts';
import { TestGpu } from '../kernels/gpu.ts';
import type { BenchOptions } from './bench-command.ts';
import { openBenchDevice } from './gpu.ts';
import { atMost, benchReport } from './report.ts';
import type { BenchReport, Cell, Check } from './report.ts';

const CONTEXT_LENGTH = 2048;
/** Of skein-tiny. */
const SIZE = { headCount: 8, kvHeadCount: 4, headDim: 32 };
/** Of values of order 1; see the tolerance of the kernels' tests. */
const TOLERANCE = 4e-5;
/** Contenders take turns. */
const ROUNDS = 5;
/** Of one sample, so that what a submit costs does not count. */
const SAMPLE_ROWS = 128;

interface Case {
  readonly name: string;
  readonly sequenceCount: number;
  readonly cacheLength: number;
  readonly rowCount: number;
}

const CASES: readonly Case[] = [
  { name: '1 decode row at 200 keys', sequenceCount: 1, cacheLength: 199, rowCount: 1 },
  { name: '1 decode row at 1000 keys', sequenceCount: 1, cacheLength: 999, rowCount: 1 },
  { name: '32 decode rows at 200 keys', sequenceCount: 32, cacheLength: 199, rowCount: 1 },
  { name: 'a prompt of 128 rows', sequenceCount: 1, cacheLength: 0, rowCount: 128 },
];
const FORMATS: readonly CacheFormat[] = ['f32', 'f16', 'int8'];

/**
 * Attention of one layer by the kernels of software adapters and of hardware, outputs compared first. Processor time of this process,
 * the least of several: a software adapter computes in it, and on a shared machine the clock says little. On hardware the clock.
 */
export async function run({ driver, onProgress }: BenchOptions): Promise<BenchReport> {
  const engine = await openBenchDevice();
  const gpu = new TestGpu(engine);
  const serial = new KernelCompiler(gpu.device, { ...gpu.compiler.tuning, isSoftware: true });
  const parallel = new KernelCompiler(gpu.device, { ...gpu.compiler.tuning, isSoftware: false });
  const rows: Record<string, Cell>[] = [];
  const checks: Check[] = [];
  for (const cacheFormat of FORMATS) {
    for (const { name, sequenceCount, cacheLength, rowCount } of CASES) {
      onProgress(`${name}, cache ${cacheFormat} …`);
      const shape: DecodeShape = {
        ...SIZE,
        cacheFormat,
        contextLength: CONTEXT_LENGTH,
        splitTokens: decodeSplitTokens(CONTEXT_LENGTH),
      };
      const sequences = Array.from({ length: sequenceCount }, (_, index): AttentionSequence => ({
        seed: index + 1,
        cacheLength,
        rowCount,
        attendBy: rowCount === 1 ? 'decode' : 'prefill',
      }));
      const attention = attentionCase(shape, sequences);
      const expected = await attendOnGpu(gpu, attention, parallel);
      const actual = await attendOnGpu(gpu, attention, serial);
      const difference = expected.reduce(
        (worst, value, index) => Math.max(worst, Math.abs(value - (actual[index] ?? NaN))),
        0,
      );
      checks.push(atMost(`${name}, cache ${cacheFormat}: largest difference`, difference, TOLERANCE));
      const clock = driver === 'native' ? wallMs : processorMs;
      const [serialMs, parallelMs] = await leastMs(gpu, attention, [serial, parallel], clock);
      rows.push({
        case: name,
        cache: cacheFormat,
        'serial ms': serialMs ?? NaN,
        'parallel ms': parallelMs ?? NaN,
        'parallel / serial': (parallelMs ?? NaN) / (serialMs ?? NaN),
      });
    }
  }
  gpu.device.destroy();
  return benchReport('attention', engine.adapterName, [{ title: 'Attention of one layer', rows }], checks);
}

/** Of each compiler's kernels, for one layer. */
async function leastMs(
  gpu: TestGpu,
  attention: AttentionCase,
  compilers: readonly KernelCompiler[],
  clock: () => number,
): Promise<number[]> {
  const { shape, batch } = attention;
  const buffers = uploadAttention(gpu, attention);
  const contenders = await Promise.all(
    compilers.map((compiler) => attentionKernels(compiler, shape, buffers)),
  );
  const repeats = Math.max(1, Math.round(SAMPLE_ROWS / batch.rows.length));
  const least = contenders.map(() => Infinity);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, kernels] of contenders.entries()) {
      const startedMs = clock();
      const repeated = Array.from({ length: repeats }, () => kernels).flat();
      await gpu.run(repeated, batch.step);
      await gpu.device.queue.onSubmittedWorkDone();
      least[index] = Math.min(least[index] ?? Infinity, (clock() - startedMs) / repeats);
    }
  }
  freeAttention(buffers);
  return least;
}

function wallMs(): number {
  return performance.now();
}

function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

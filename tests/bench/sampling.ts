import { GpuMemory } from '../../src/engine/gpu-memory.ts';
import { KernelCompiler } from '../../src/engine/kernel.ts';
import { decodeSampled, isGreedy } from '../../src/engine/kernels/sample-rows.ts';
import type { SampleRow } from '../../src/engine/kernels/sample-rows.ts';
import { Sampler } from '../../src/engine/sampler.ts';
import { rowsStep } from '../../src/engine/step.ts';
import { TokenHistory } from '../../src/engine/token-history.ts';
import { NO_HISTORY, sampling } from '../../src/protocol/sampling.ts';
import type { SamplingParams } from '../../src/protocol/sampling.ts';
import { randomNormal } from '../fixtures/random-model.ts';
import { adjustedLogits, gumbelScores, largest } from '../reference/sampling.ts';
import { openBenchDevice } from './gpu.ts';
import { benchReport, exactly } from './report.ts';
import type { BenchReport } from './report.ts';

/** Passes that are timed together, so that what a submit costs is spread: as many as walk about so many logits. */
const TIMED_LOGITS = 200_000;
const MAX_PASSES = 20;
const ROUNDS = 9;
/** Rows of a pass that are compared with the reference. */
const CHECKED_ROWS = 4;
const VOCABULARIES = [2048, 151_936];
const ANSWER_TOKENS = 200;

const CASES: readonly { readonly name: string; readonly rows: number; readonly params: SamplingParams }[] = [
  { name: 'greedy', rows: 1, params: sampling({}) },
  { name: 'greedy', rows: 32, params: sampling({}) },
  { name: 'temperature', rows: 1, params: sampling({ temperature: 1 }) },
  { name: 'min-p', rows: 1, params: sampling({ temperature: 1, minP: 0.05 }) },
  { name: 'top-k', rows: 1, params: sampling({ temperature: 1, topK: 40 }) },
  { name: 'top-k and top-p', rows: 1, params: sampling({ temperature: 1, topK: 40, topP: 0.9 }) },
  { name: 'top-k and top-p', rows: 32, params: sampling({ temperature: 1, topK: 40, topP: 0.9 }) },
  { name: 'greedy, penalties of 200 tokens', rows: 1, params: sampling({ frequencyPenalty: 0.5 }) },
  { name: 'greedy, top 20 log-probabilities', rows: 1, params: sampling({ topLogProbabilities: 20 }) },
];

export async function run({ onProgress }: { onProgress: (line: string) => void }): Promise<BenchReport> {
  const { device, adapterName } = await openBenchDevice();
  const compiler = KernelCompiler.of(device);
  const tables: Record<string, string | number>[] = [];
  let mismatches = 0;
  for (const vocabSize of VOCABULARIES) {
    const logits = Float32Array.from({ length: vocabSize }, randomNormal(vocabSize));
    for (const { name, rows, params } of CASES) {
      const bench = await SamplerBench.create(compiler, logits, rows, params);
      mismatches += await bench.mismatches();
      const { clockMs, processorMs } = await bench.time();
      bench.dispose();
      onProgress(`${name}, ${rows} rows of ${vocabSize}: ${processorMs.toFixed(3)} ms`);
      tables.push({
        sampling: name,
        vocabulary: vocabSize,
        rows,
        'clock ms': clockMs,
        'processor ms': processorMs,
      });
    }
  }
  device.destroy();
  const title = `One pass of the sampler, best of ${ROUNDS}`;
  return benchReport(
    'sampling',
    adapterName,
    [{ title, rows: tables }],
    [exactly('tokens that are not those of the float64 reference', mismatches, 0)],
  );
}

class SamplerBench {
  private constructor(
    private readonly memory: GpuMemory,
    private readonly sampler: Sampler,
    private readonly logitsBuffer: GPUBuffer,
    private readonly logits: Float32Array<ArrayBuffer>,
    private readonly rows: readonly SampleRow[],
    private readonly answer: readonly number[],
  ) {}

  static async create(
    compiler: KernelCompiler,
    logits: Float32Array<ArrayBuffer>,
    rowCount: number,
    params: SamplingParams,
  ): Promise<SamplerBench> {
    const vocabSize = logits.length;
    const memory = new GpuMemory(compiler.device);
    const buffer = memory.storage('logits', rowCount * logits.byteLength);
    const sampler = await Sampler.create(compiler, memory, { vocabSize, maxRows: rowCount }, buffer);
    const answer = Array.from({ length: ANSWER_TOKENS }, (_, index) => (index * 37) % vocabSize);
    const rows = Array.from({ length: rowCount }, (_, headRow): SampleRow => {
      const history = new TokenHistory(
        { promptTokens: 1, stopTokenIds: [], sampling: params, history: NO_HISTORY },
        vocabSize,
      );
      answer.forEach((token, index) => history.add(1 + index, token));
      const position = 1 + answer.length;
      return {
        headRow,
        position,
        params: { ...params, seed: headRow },
        adjustments: history.adjustmentsAt(position).slice(),
      };
    });
    return new SamplerBench(memory, sampler, buffer, logits, rows, answer);
  }

  /** Tokens of one pass that the reference does not give. */
  async mismatches(): Promise<number> {
    const { device } = this.memory;
    this.rows.forEach((_, row) => {
      device.queue.writeBuffer(this.logitsBuffer, row * this.logits.byteLength, this.logits);
    });
    await this.#passes(1);
    const bytes = await Promise.all(this.sampler.results.map(([buffer, size]) => this.#read(buffer, size)));
    const tokens = decodeSampled(this.rows, bytes[0], bytes[1]);
    return this.rows.slice(0, CHECKED_ROWS).filter(({ params, position }, row) => {
      const adjusted = adjustedLogits(this.logits, params, {
        prompt: [],
        generated: this.answer,
        stopTokenIds: [],
      });
      const scores = isGreedy(params) ? adjusted : gumbelScores(adjusted, params, position);
      return tokens[row]?.tokenId !== scores.indexOf(largest(scores));
    }).length;
  }

  /** Of one pass: time on the clock, and of all processors, which is what counts where they play the GPU. */
  async time(): Promise<{ clockMs: number; processorMs: number }> {
    const logitsOfPass = this.rows.length * this.logits.length;
    const passes = Math.min(MAX_PASSES, Math.ceil(TIMED_LOGITS / logitsOfPass));
    let clockMs = Infinity;
    let processorMs = Infinity;
    for (let round = 0; round < ROUNDS; round++) {
      const startedMs = performance.now();
      const startedUsage = process.cpuUsage();
      await this.#passes(passes);
      const { user, system } = process.cpuUsage(startedUsage);
      clockMs = Math.min(clockMs, (performance.now() - startedMs) / passes);
      processorMs = Math.min(processorMs, (user + system) / 1000 / passes);
    }
    return { clockMs, processorMs };
  }

  dispose(): void {
    this.memory.dispose();
  }

  async #passes(count: number): Promise<void> {
    const { device } = this.memory;
    this.sampler.write(this.rows);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    const sampleRows = this.rows.length;
    for (let index = 0; index < count; index++) {
      this.sampler.encode(pass, { ...rowsStep(1), headRows: sampleRows, sampleRows });
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
  }

  async #read(buffer: GPUBuffer, sizeBytes: number): Promise<ArrayBuffer> {
    if (sizeBytes === 0) return new ArrayBuffer(0);
    const { device } = this.memory;
    const staging = this.memory.staging('read_back', sizeBytes);
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, sizeBytes);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    return staging.getMappedRange().slice(0);
  }
}

import { Command } from 'commander';
import { wholeNumber } from '../../src/cli/arguments.ts';
import type { BenchReport } from '../bench/report.ts';
import { tellReport } from '../bench/tell-report.ts';
import { runFuzz } from './fuzz.ts';
import { fuzzReport } from './fuzz-report.ts';

interface Options {
  readonly frames: number;
  readonly messages: number;
  readonly seed: string;
  readonly json: boolean;
}

const MAX_COUNT = 1e9;

const options = new Command('fuzz')
  .description('Mutated frames and signaling messages at everything that reads them.')
  .option('--frames <n>', 'mutated frames', wholeNumber(1, MAX_COUNT), 1_000_000)
  .option('--messages <n>', 'mutated signaling messages, each way', wholeNumber(1, MAX_COUNT), 100_000)
  .option('--seed <text>', 'same seed, same input', '1')
  .option('--json', 'print one JSON object', false)
  .parse()
  .opts<Options>();

async function run(): Promise<BenchReport> {
  const startedAt = performance.now();
  const result = await runFuzz({ ...options, onProgress: (line) => console.error(line) });
  return fuzzReport(options, result, (performance.now() - startedAt) / 1000);
}

process.exitCode = await tellReport('fuzz', options.json, run);

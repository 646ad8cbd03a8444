import { Command } from 'commander';
import { wholeNumber } from '../../src/cli/arguments.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import { allHold, formatReport } from '../bench/report.ts';
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

try {
  const startedAt = performance.now();
  const result = await runFuzz({ ...options, onProgress: (line) => console.error(line) });
  const report = fuzzReport(options, result, (performance.now() - startedAt) / 1000);
  console.log(options.json ? JSON.stringify(report) : formatReport(report));
  process.exitCode = allHold(report) ? 0 : 1;
} catch (thrown) {
  console.error(`fuzz: ${SkeinError.from(thrown).message}`);
  process.exitCode = 1;
}

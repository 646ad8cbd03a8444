import { Command } from 'commander';
import { numberBetween, wholeNumber } from '../../src/cli/arguments.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { BenchReport } from '../bench/report.ts';
import { tellReport } from '../bench/tell-report.ts';
import { prepareRig } from '../rig/prepare.ts';
import { Random } from '../sim/random.ts';
import { runChurn } from './churn.ts';
import { churnReport } from './report.ts';

interface Options {
  readonly minutes: number;
  readonly peers: number;
  readonly tabs: number;
  readonly stages: number;
  readonly requesters: number;
  readonly interval: number;
  readonly seed: number;
  readonly json: boolean;
}

const MAX_PEERS = 32;
const MAX_SEED = 0xffff_ffff;

const options = new Command('churn')
  .description('Tabs and Node peers that leave and come back while answers are asked for, on this machine.')
  .option('--minutes <n>', 'how long it goes on', numberBetween(0.1, 60), 3)
  .option('--peers <n>', 'tabs and Node peers together', wholeNumber(4, MAX_PEERS), 6)
  .option('--tabs <n>', 'of them, tabs', wholeNumber(0, MAX_PEERS), 2)
  .option('--stages <n>', 'peers that hold the model together', wholeNumber(1, MAX_PEERS), 3)
  .option('--requesters <n>', 'answers at a time', wholeNumber(1, 64), 2)
  .option(
    '--interval <seconds>',
    'between two leaves, at least; at most twice this',
    numberBetween(0.5, 600),
    3,
  )
  .option('--seed <n>', 'of who leaves when', wholeNumber(0, MAX_SEED), 1)
  .option('--json', 'print one JSON object', false)
  .parse()
  .opts<Options>();

async function run(): Promise<BenchReport> {
  const { chromiumPath, vulkanDrivers } = prepareRig();
  if (chromiumPath === null) throw new SkeinError('no-adapter', 'There is no Chromium. Run: npm test');
  const random = new Random(String(options.seed));
  const { peers, tabs, stages, requesters } = options;
  const result = await runChurn({
    chromiumPath,
    durationMs: options.minutes * 60_000,
    tabs: Math.min(tabs, peers),
    nodes: Math.max(0, peers - tabs),
    stages,
    requesters,
    intervalMs: options.interval * 1000,
    minServing: stages,
    random: () => random.next(),
    vulkanDriver: vulkanDrivers.lavapipe ?? null,
    onProgress: (line) => console.error(line),
  });
  return churnReport(result);
}

// WebRTC keeps threads of its own.
process.exit(await tellReport('churn', options.json, run));

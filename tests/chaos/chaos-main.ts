import { Command } from 'commander';
import { numberBetween, wholeNumber } from '../../src/cli/arguments.ts';
import type { BenchReport } from '../bench/report.ts';
import { tellReport } from '../bench/tell-report.ts';
import { prepareRig } from '../rig/prepare.ts';
import { runChaos } from './chaos.ts';
import { chaosReport } from './chaos-report.ts';
import { faultsWithin, faultWords } from './plan.ts';

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly peers: number;
  readonly tabs: number;
  readonly stages: number;
  readonly requesters: number;
  readonly interval: number;
  readonly plan: boolean;
  readonly json: boolean;
}

const MAX_PEERS = 32;
const MAX_SEED = 0xffff_ffff;

const { minutes, seed, peers, tabs, stages, requesters, interval, plan, json } = new Command('chaos')
  .description(
    'Node peers, tabs and a server that are killed, frozen and lied to while answers are asked for.',
  )
  .option('--minutes <n>', 'how long it goes on', numberBetween(0.1, 600), 10)
  .option('--seed <n>', 'of what goes wrong, and of what is asked', wholeNumber(0, MAX_SEED), 1)
  .option('--peers <n>', 'Node peers', wholeNumber(2, MAX_PEERS), 4)
  .option('--tabs <n>', 'tabs besides', wholeNumber(0, MAX_PEERS), 1)
  .option('--stages <n>', 'peers that hold the model together', wholeNumber(1, MAX_PEERS), 2)
  .option('--requesters <n>', 'answers at a time', wholeNumber(1, 64), 3)
  .option(
    '--interval <seconds>',
    'between two faults, at least; at most twice this',
    numberBetween(0.5, 600),
    3,
  )
  .option('--plan', 'only print what would go wrong', false)
  .option('--json', 'print one JSON object', false)
  .parse()
  .opts<Options>();

const durationMs = minutes * 60_000;
const intervalMs = interval * 1000;

function printPlan(): void {
  const planned = faultsWithin({ seed, nodes: peers, tabs, intervalMs }, durationMs);
  if (json) console.log(JSON.stringify(planned));
  else
    for (const { afterMs, fault } of planned)
      console.log(`+${(afterMs / 1000).toFixed(1)} s  ${faultWords(fault)}`);
}

async function run(): Promise<BenchReport> {
  const { chromiumPath, vulkanDrivers } = prepareRig();
  const result = await runChaos({
    durationMs,
    seed,
    nodes: peers,
    tabs,
    stages,
    requesters,
    intervalMs,
    chromiumPath,
    vulkanDriver: vulkanDrivers.lavapipe ?? null,
    onProgress: (line) => console.error(line),
  });
  return chaosReport(result, durationMs);
}

if (plan) printPlan();
// WebRTC keeps threads of its own.
else process.exit(await tellReport('chaos', json, run));

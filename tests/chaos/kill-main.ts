import { Command } from 'commander';
import { wholeNumber } from '../../src/cli/arguments.ts';
import type { BenchReport } from '../bench/report.ts';
import { tellReport } from '../bench/tell-report.ts';
import { prepareRig } from '../rig/prepare.ts';
import { KILL_CASES, runKills } from './kill.ts';
import { killReport } from './kill-report.ts';

const { rounds, json } = new Command('kill')
  .description(
    'Kills every stage of a route in prefill and in decode, and lets every stage leave, on this machine.',
  )
  .option('--rounds <n>', 'of all cases', wholeNumber(1, 100), 1)
  .option('--json', 'print one JSON object', false)
  .parse()
  .opts<{ readonly rounds: number; readonly json: boolean }>();

async function run(): Promise<BenchReport> {
  const { vulkanDrivers } = prepareRig();
  const result = await runKills({
    rounds,
    vulkanDriver: vulkanDrivers.lavapipe ?? null,
    onProgress: (line) => console.error(line),
  });
  return killReport(result, rounds * KILL_CASES);
}

// WebRTC keeps threads of its own.
process.exit(await tellReport('kill', json, run));

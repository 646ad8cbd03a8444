import { Command } from 'commander';
import { numberBetween, wholeNumber } from '../../src/cli/arguments.ts';
import { atMost, benchReport, exactly } from '../bench/report.ts';
import type { BenchReport } from '../bench/report.ts';
import { tellReport } from '../bench/tell-report.ts';
import { prepareRig } from '../rig/prepare.ts';
import { runRestarts } from './restart.ts';
import type { RestartResult } from './restart.ts';

/** From the new server's listening until everybody is back. */
const MAX_BACK_MS = 5_000;

const { rounds, down, json } = new Command('restart')
  .description('Kills the server in the middle of an answer, and starts another, on this machine.')
  .option('--rounds <n>', 'restarts', wholeNumber(1, 100), 3)
  .option('--down <seconds>', 'from the kill to the next start', numberBetween(0, 60), 0.5)
  .option('--json', 'print one JSON object', false)
  .parse()
  .opts<{ readonly rounds: number; readonly down: number; readonly json: boolean }>();

function reportOf({ adapter, rounds: restarts }: RestartResult): BenchReport {
  return benchReport(
    'restart',
    adapter,
    [
      {
        title: 'Restarts of the server in the middle of an answer',
        rows: restarts.map(({ outcome, interruptions, tokensMeanwhile, downMs, backMs, sameIds }) => ({
          answer: outcome,
          interruptions,
          'tokens while it was away': tokensMeanwhile,
          'away ms': downMs,
          'everybody back after ms': backMs,
          'same peer ids': sameIds ? 'yes' : 'no',
        })),
      },
    ],
    [
      exactly('restarts', restarts.length, rounds),
      exactly('answers other than golden', restarts.filter(({ outcome }) => outcome !== 'right').length, 0),
      exactly('answers that were interrupted', restarts.filter((each) => each.interruptions > 0).length, 0),
      exactly(
        'restarts after which peers had other ids',
        restarts.filter(({ sameIds }) => !sameIds).length,
        0,
      ),
      atMost(
        'longest ms until everybody is back',
        Math.max(...restarts.map(({ backMs }) => backMs)),
        MAX_BACK_MS,
      ),
    ],
  );
}

async function run(): Promise<BenchReport> {
  const { vulkanDrivers } = prepareRig();
  return reportOf(
    await runRestarts({
      rounds,
      downMs: down * 1000,
      vulkanDriver: vulkanDrivers.lavapipe ?? null,
      onProgress: (line) => console.error(line),
    }),
  );
}

// WebRTC keeps threads of its own.
process.exit(await tellReport('restart', json, run));

import { Command, Option } from 'commander';
import type { BenchReport } from '../bench/report.ts';
import { tellReport } from '../bench/tell-report.ts';
import { prepareRig } from '../rig/prepare.ts';
import { HOSTILE_KINDS, isHostileKind } from './hostile-kinds.ts';
import { hostileReport } from './hostile-report.ts';
import { runHostile } from './hostile-run.ts';

interface Options {
  readonly only?: readonly string[];
  readonly json: boolean;
}

const { only, json } = new Command('hostile')
  .description(
    'Three honest stages on this machine, and peers that take work and harm whoever relies on them.',
  )
  .addOption(new Option('--only <kinds...>', 'of the hostile peers').choices(Object.keys(HOSTILE_KINDS)))
  .option('--json', 'print one JSON object', false)
  .parse()
  .opts<Options>();

async function run(): Promise<BenchReport> {
  const { vulkanDrivers } = prepareRig();
  const result = await runHostile({
    kinds: (only ?? Object.keys(HOSTILE_KINDS)).filter(isHostileKind),
    vulkanDriver: vulkanDrivers.lavapipe ?? null,
    onProgress: (line) => console.error(line),
  });
  return hostileReport(result);
}

// WebRTC keeps threads of its own.
process.exit(await tellReport('hostile', json, run));

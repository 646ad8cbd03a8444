import { Command, Option } from 'commander';
import { SkeinError } from '../../src/protocol/errors.ts';
import { allHold, formatReport } from '../bench/report.ts';
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

try {
  const { vulkanDrivers } = prepareRig();
  const result = await runHostile({
    kinds: (only ?? Object.keys(HOSTILE_KINDS)).filter(isHostileKind),
    vulkanDriver: vulkanDrivers.lavapipe ?? null,
    onProgress: (line) => console.error(line),
  });
  const report = hostileReport(result);
  console.log(json ? JSON.stringify(report) : formatReport(report));
  // WebRTC keeps threads of its own.
  process.exit(allHold(report) ? 0 : 1);
} catch (thrown) {
  console.error(`hostile: ${SkeinError.from(thrown).message}`);
  process.exit(1);
}

import { Command, Option } from 'commander';
import { findRig } from '../rig/rig.ts';
import { prepareRig } from '../rig/prepare.ts';
import { selectDriver } from '../rig/select-driver.ts';
import type { BenchReport } from './report.ts';
import { tellReport } from './tell-report.ts';

/** What computes: a software Vulkan driver, or the machine's own GPU. */
export type BenchDriver = 'lavapipe' | 'swiftshader' | 'native';

/** What every bench gets; its own options beside them, under the names commander gives them. */
export interface BenchOptions {
  readonly driver: BenchDriver;
  /** One line for whoever waits; goes to stderr. */
  readonly onProgress: (line: string) => void;
}

/** `run` takes `BenchOptions` and whatever options the command has for it, which commander has checked. */
export interface BenchModule {
  run(options: never): Promise<BenchReport>;
}

/**
 * The command `npm run bench -- <name>`; the caller adds the bench's own options.
 * @param drivers those the bench runs on, the default first; elsewhere than on Linux the machine's own GPU is the default.
 */
export function benchCommand(
  name: string,
  description: string,
  drivers: readonly BenchDriver[],
  load: () => Promise<BenchModule>,
): Command {
  const fallback = process.platform === 'linux' ? drivers[0] : 'native';
  return new Command(name)
    .description(description)
    .option('--json', 'print one JSON object: the report', false)
    .addOption(new Option('--driver <driver>', 'what computes').choices(drivers).default(fallback))
    .action(async (options: { readonly json: boolean; readonly driver: BenchDriver }) => {
      process.exitCode = await tellReport(`bench ${name}`, options.json, async () => {
        prepareDriver(options.driver);
        const benchOptions: BenchOptions = { ...options, onProgress: (line) => console.error(line) };
        return (await load()).run(benchOptions as never);
      });
    });
}

/** Installs the driver if the machine lacks it, and hides all others. */
function prepareDriver(driver: BenchDriver): void {
  if (driver === 'native') return;
  if (findRig().vulkanDrivers[driver] === undefined) prepareRig();
  selectDriver(driver);
}

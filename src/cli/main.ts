import { CommanderError } from 'commander';
import { SkeinError } from '../protocol/errors.ts';
import { skeinProgram } from './program.ts';

const FAILURE = 1;
const WRONG_USAGE = 2;

try {
  await skeinProgram().parseAsync();
} catch (thrown) {
  process.exitCode = report(thrown);
}

/** @returns the exit code. */
function report(thrown: unknown): number {
  // commander has printed its own words already.
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : WRONG_USAGE;
  console.error(`skein: ${SkeinError.from(thrown).message}`);
  return FAILURE;
}

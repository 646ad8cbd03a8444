import { SkeinError } from '../../src/protocol/errors.ts';
import { allHold, formatReport } from './report.ts';
import type { BenchReport } from './report.ts';

const FAILURE = 1;

/**
 * Prints what a run found: tables for people, or one JSON object. Why it failed goes to stderr.
 * @param name of the command.
 * @returns the exit code of the process; not 0 when the run failed or a check does not hold.
 */
export async function tellReport(
  name: string,
  isJson: boolean,
  run: () => Promise<BenchReport>,
): Promise<number> {
  try {
    const report = await run();
    console.log(isJson ? JSON.stringify(report) : formatReport(report));
    return allHold(report) ? 0 : FAILURE;
  } catch (thrown) {
    console.error(`${name}: ${SkeinError.from(thrown).message}`);
    return FAILURE;
  }
}

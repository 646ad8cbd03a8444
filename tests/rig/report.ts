import { existsSync, readFileSync } from 'node:fs';
import * as v from 'valibot';

export interface TestCount {
  passed: number;
  failed: number;
}

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const vitestReport = v.object({ numPassedTests: count, numFailedTests: count });
const playwrightReport = v.object({
  stats: v.object({ expected: count, unexpected: count, flaky: count }),
});

/** Reads what Vitest or Playwright wrote; a suite without tests wrote nothing. */
export function countTests(path: string): TestCount {
  if (!existsSync(path)) return { passed: 0, failed: 0 };
  const report = v.parse(v.union([vitestReport, playwrightReport]), JSON.parse(readFileSync(path, 'utf8')));
  if ('stats' in report) {
    const { expected, unexpected, flaky } = report.stats;
    return { passed: expected, failed: unexpected + flaky };
  }
  return { passed: report.numPassedTests, failed: report.numFailedTests };
}

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SkeinError } from '../../src/protocol/errors.ts';
import { describeDrivers, prepareRig } from './prepare.ts';
import { countTests } from './report.ts';
import type { TestCount } from './report.ts';

/** npm scripts, in the order in which their failures are cheapest to find. */
const SUITES = [
  'check',
  'test:kernels',
  'test:mesh',
  'test:package',
  'test:api',
  'test:e2e',
  'test:chaos',
] as const;

/** Everything, also after a failure: one run shows all that is wrong. */
function runAll(): boolean {
  const rig = prepareRig();
  console.log(`Chromium: ${rig.chromiumPath ?? 'none'}; Vulkan drivers: ${describeDrivers(rig)}`);
  const reports = mkdtempSync(join(tmpdir(), 'skein-tests-'));
  const failed: string[] = [];
  const total: TestCount = { passed: 0, failed: 0 };
  for (const suite of SUITES) {
    console.log(`\n> npm run ${suite}`);
    const report = join(reports, `${suite.replace(':', '-')}.json`);
    if (!npmRun(suite, report)) failed.push(suite);
    const count = countTests(report);
    total.passed += count.passed;
    total.failed += count.failed;
  }
  rmSync(reports, { recursive: true });
  if (failed.length > 0) console.log(`\nFailed: ${failed.join(', ')}`);
  console.log(`\n${total.passed} passed, ${total.failed} failed`);
  return failed.length === 0;
}

/** @param report where the suite's tests write their JSON report, if it has tests. */
function npmRun(script: string, report: string): boolean {
  const npm = process.env['npm_execpath'];
  const [command, args] =
    npm === undefined ? ['npm', ['run', '-s', script]] : [process.execPath, [npm, 'run', '-s', script]];
  const { status } = spawnSync(command, args, {
    stdio: 'inherit',
    env: { ...process.env, SKEIN_TEST_REPORT: report },
    shell: npm === undefined && process.platform === 'win32',
  });
  return status === 0;
}

try {
  process.exitCode = runAll() ? 0 : 1;
} catch (thrown) {
  console.error(SkeinError.from(thrown).message);
  process.exitCode = 1;
}

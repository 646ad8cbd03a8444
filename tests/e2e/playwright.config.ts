import { defineConfig } from '@playwright/test';
import { CHROMIUM_FLAGS, findRig } from '../rig/rig.ts';

const { chromiumPath } = findRig();
const report = process.env['SKEIN_TEST_REPORT'];

export default defineConfig({
  testDir: '.',
  outputDir: 'results',
  globalSetup: './build-pages.ts',
  // A software GPU takes every core there is.
  workers: 1,
  fullyParallel: false,
  timeout: 180_000,
  expect: { timeout: 60_000 },
  forbidOnly: process.env['CI'] !== undefined,
  reporter: report === undefined ? 'list' : [['list'], ['json', { outputFile: report }]],
  use: {
    browserName: 'chromium',
    headless: true,
    launchOptions: {
      args: [...CHROMIUM_FLAGS],
      ...(chromiumPath !== null && { executablePath: chromiumPath }),
    },
    trace: 'retain-on-failure',
  },
});

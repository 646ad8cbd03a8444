import { resolve } from 'node:path';
import { configDefaults, defineConfig } from 'vitest/config';

const pages = resolve(import.meta.dirname, 'src/ui/pages');
const testReport = process.env['SKEIN_TEST_REPORT'];

/** Linux has two software drivers; elsewhere the machine's own GPU runs the kernels. */
const kernelDrivers = process.platform === 'linux' ? ['swiftshader', 'lavapipe'] : ['native'];

/**
 * Left to `npm run test:kernels:all`. lavapipe compiles the kernels of every architecture for minutes where they are not in
 * its cache, and whole slices run on SwiftShader as well. SwiftShader computes whole models for minutes, and they run on
 * lavapipe as well; the golden answer is also asked of it in the browser.
 */
const leftOut: Readonly<Record<string, readonly string[]>> =
  process.env['SKEIN_TEST_ALL'] === undefined
    ? {
        lavapipe: ['tests/kernels/slice.test.ts'],
        swiftshader: [
          'tests/kernels/constraint.test.ts',
          'tests/kernels/golden.test.ts',
          'tests/kernels/heldout.test.ts',
        ],
      }
    : {};

export default defineConfig({
  root: pages,
  publicDir: resolve(import.meta.dirname, 'public'),
  build: {
    outDir: resolve(import.meta.dirname, 'dist'),
    emptyOutDir: true,
    target: 'es2022',
    rolldownOptions: {
      input: {
        chat: resolve(pages, 'index.html'),
        contribute: resolve(pages, 'contribute/index.html'),
      },
    },
  },
  worker: { format: 'es' },
  test: {
    root: import.meta.dirname,
    reporters: testReport === undefined ? ['default'] : ['default', ['json', { outputFile: testReport }]],
    projects: [
      { extends: true, test: { name: 'unit', include: ['tests/unit/**/*.test.ts'] } },
      {
        extends: true,
        test: { name: 'mesh', include: ['tests/mesh/**/*.test.ts'], pool: 'forks', testTimeout: 60_000 },
      },
      {
        extends: true,
        test: {
          name: 'package',
          include: ['tests/package/**/*.test.ts'],
          pool: 'forks',
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'api',
          include: ['tests/api/**/*.test.ts'],
          globalSetup: ['tests/api/mesh-setup.ts'],
          pool: 'forks',
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      ...kernelDrivers.map((driver) => ({
        extends: true as const,
        test: {
          name: `kernels-${driver}`,
          include: ['tests/kernels/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...(leftOut[driver] ?? [])],
          pool: 'forks' as const,
          env: { SKEIN_TEST_DRIVER: driver },
          setupFiles: driver === 'native' ? [] : ['tests/rig/use-driver.ts'],
          // Software GPUs compile kernels for seconds and compute for minutes; a hang is found all the same.
          testTimeout: 900_000,
          hookTimeout: 300_000,
        },
      })),
    ],
  },
});

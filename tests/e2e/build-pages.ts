import { resolve } from 'node:path';
import { build } from 'vite';

/** The tests see the pages as they are now, built as they are shipped. */
// eslint-disable-next-line no-restricted-syntax -- Playwright calls the default export of a global setup.
export default async function buildPages(): Promise<void> {
  await build({ configFile: resolve(import.meta.dirname, '../../vite.config.ts'), logLevel: 'warn' });
}

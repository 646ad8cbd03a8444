import { resolve } from 'node:path';
import { chromium } from '@playwright/test';
import { createServer } from 'vite';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { prepareChromium } from '../../rig/prepare.ts';
import { CHROMIUM_FLAGS } from '../../rig/rig.ts';
import type { EngineCase, EngineCaseResult } from './worker.ts';

const PROJECT = resolve(import.meta.dirname, '../../..');

/** A headless Chromium on the bench's page, and the server that page and models come from. */
export interface BenchBrowser {
  /** Chromium's version. */
  readonly version: string;
  /** Where the page finds a folder of this machine, with a slash at the end. */
  urlOf(folder: string): string;
  run(task: EngineCase): Promise<EngineCaseResult>;
  close(): Promise<void>;
}

/** @param adapter `native` is whatever GPU Chromium finds. */
export async function openBenchBrowser(
  adapter: 'swiftshader' | 'native',
  onProgress: (line: string) => void,
): Promise<BenchBrowser> {
  const server = await createServer({
    configFile: false,
    root: PROJECT,
    // The models are in temporary folders; and a page must not reload because somebody edits a file meanwhile.
    server: { host: '127.0.0.1', port: 0, fs: { strict: false }, hmr: false, watch: null },
    optimizeDeps: { exclude: ['onnxruntime-web'] },
    logLevel: 'error',
  });
  await server.listen();
  const flags = CHROMIUM_FLAGS.filter(
    (flag) => adapter === 'swiftshader' || !flag.startsWith('--use-webgpu-adapter'),
  );
  const browser = await chromium.launch({ executablePath: prepareChromium(), args: flags });
  const close = async () => {
    await browser.close();
    await server.close();
  };
  try {
    const origin = server.resolvedUrls?.local[0];
    if (origin === undefined) throw new SkeinError('internal', 'The server of the bench has no address.');
    const page = await browser.newPage();
    await page.exposeFunction('onEngineProgress', onProgress);
    await page.goto(`${origin}tests/bench/engine/index.html`);
    await page.waitForFunction(() => 'runEngineCase' in window);
    return {
      version: browser.version(),
      urlOf: (folder) => new URL(`@fs/${folder.replace(/^\//, '')}/`, origin).href,
      run: (task) => page.evaluate((each) => window.runEngineCase(each), task),
      close,
    };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

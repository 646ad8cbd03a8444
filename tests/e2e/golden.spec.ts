import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@playwright/test';
import { createServer } from 'vite';
import type { ViteDevServer } from 'vite';
import { GOLDEN_CUTS } from '../golden/golden-file.ts';
import type { Golden } from '../golden/golden-file.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const golden = JSON.parse(await readFile(`${root}/public/models/skein-tiny/golden.json`, 'utf8')) as Golden;

// Eight stages of a software GPU, one token after the other.
test.describe.configure({ timeout: 600_000 });

let server: ViteDevServer;
test.beforeAll(async () => {
  server = await createServer({ configFile: false, root, server: { port: 0 }, logLevel: 'error' });
  await server.listen();
});
test.afterAll(() => server.close());

for (const cuts of GOLDEN_CUTS) {
  test(`golden tokens in a browser's worker, layers cut at [${cuts.join(', ')}]`, async ({ page }) => {
    const url = server.resolvedUrls?.local[0];
    expect(url).toBeDefined();
    await page.goto(`${url}tests/e2e/golden/index.html`);
    await page.waitForFunction(() => 'runGolden' in window);
    expect(golden.cases).toHaveLength(12);
    const { answers } = await page.evaluate((task) => window.runGolden(task), {
      modelUrl: new URL('models/skein-tiny/', url).href,
      cuts,
      prompts: golden.cases.map(({ prompt_ids }) => prompt_ids),
    });
    expect(answers).toEqual(golden.cases.map(({ greedy_ids }) => greedy_ids));
  });
}

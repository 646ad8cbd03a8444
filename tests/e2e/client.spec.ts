import { resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import type { Page } from '@playwright/test';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { build } from 'vite';
import { serveFile } from '../../signaling/static-files.ts';
import { docPageScripts } from '../package/doc-programs.ts';
import { startMesh } from '../rig/local-server.ts';
import { goldenAnswer, serveFrom } from './mesh.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const QUESTION = 'What is Skein?';
const IMPORTS = JSON.stringify({ imports: { 'skein/client': '/client/browser.js' } });

test.beforeAll(async () => {
  await build({ configFile: resolve(ROOT, 'vite.client.config.ts'), logLevel: 'warn' });
});

/** A site of its own, whose page runs a script of the documentation. */
async function openSite(script: string): Promise<{ url: string; close: () => void }> {
  const app = new Hono();
  app.get('/', (context) =>
    context.html(
      `<!doctype html><script type="importmap">${IMPORTS}</script><body></body><script type="module">${script}</script>`,
    ),
  );
  app.get('*', async (context) => {
    const folder = resolve(ROOT, 'dist-client');
    const file = await serveFile(context.req.raw, [{ urlPath: '/client/', folder }]);
    return file ?? context.notFound();
  });
  return new Promise((opened) => {
    const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) => {
      opened({ url: `http://localhost:${port}/`, close: () => server.close() });
    });
  });
}

/** All that a page says to anybody but its peers. */
function listenTo(page: Page): string[] {
  const said: string[] = [];
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => said.push(payload.toString()));
  });
  page.on('request', (request) =>
    said.push(`${request.method()} ${request.url()} ${request.postData() ?? ''}`),
  );
  return said;
}

test('a page of another origin asks two tabs, and the server hears nothing of it', async ({
  browser,
  context,
}) => {
  const [script = ''] = docPageScripts(resolve(ROOT, 'docs/client.md'));
  const server = await startMesh(2, 0, { corsOrigins: ['*'] });
  const site = await openSite(script.replaceAll('http://localhost:3000', server.url));
  try {
    await serveFrom(context, server.url, 2);
    const page = await (await browser.newContext()).newPage();
    const errors: Error[] = [];
    page.on('pageerror', (error) => errors.push(error));
    const said = listenTo(page);
    await page.goto(site.url);
    await expect(page.locator('body')).toHaveText(goldenAnswer(QUESTION));
    expect(errors).toEqual([]);
    expect(said.some((words) => words.includes('route-request'))).toBe(true);
    for (const words of said) {
      expect(words).not.toContain(QUESTION);
      expect(words).not.toMatch(/^(POST|PUT)/);
    }
  } finally {
    site.close();
    await server.close();
  }
});

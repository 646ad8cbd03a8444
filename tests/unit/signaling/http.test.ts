import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../../../signaling/app.ts';
import type { Health } from '../../../signaling/app.ts';

const health: Health = {
  status: 'ok',
  uptimeSeconds: 5,
  peers: 2,
  contributors: 1,
  requests: 0,
  queued: 0,
  models: [],
  covered: [],
};
const WEIGHTS = 'abcdefghij';

let folder: string;
let get: (path: string, headers?: Record<string, string>, method?: string) => Promise<Response>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-http-'));
  const files: Record<string, string> = {
    'dist/index.html': '<h1>chat</h1>',
    'dist/contribute/index.html': '<h1>contribute</h1>',
    'dist/assets/chat-D4f_g-h1.js': 'export {};',
    'dist/assets/engine.wasm': '',
    'dist/norm.wgsl': 'fn main() {}',
    'dist/.env': 'secret',
    'model/model.safetensors': WEIGHTS,
    'model/config.json': '{}',
    'outside.txt': 'secret',
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(folder, path, '..'), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  const app = createApp({
    health: () => health,
    roots: [
      { urlPath: '/models/tiny/', folder: join(folder, 'model') },
      { urlPath: '/', folder: join(folder, 'dist') },
    ],
    onError: (error) => {
      throw error;
    },
  });
  get = async (path, headers = {}, method = 'GET') => app.request(path, { headers, method });
});
afterAll(() => rm(folder, { recursive: true }));

describe('pages and files', () => {
  it.each([
    ['/', 'text/html; charset=utf-8'],
    ['/contribute/', 'text/html; charset=utf-8'],
    ['/assets/chat-D4f_g-h1.js', 'text/javascript; charset=utf-8'],
    ['/assets/engine.wasm', 'application/wasm'],
    ['/norm.wgsl', 'text/wgsl; charset=utf-8'],
    ['/models/tiny/config.json', 'application/json; charset=utf-8'],
    ['/models/tiny/model.safetensors', 'application/octet-stream'],
  ])('%s is %s', async (path, type) => {
    const response = await get(path);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe(type);
  });

  it('leads from /contribute to /contribute/', async () => {
    const response = await get('/contribute');
    expect(response.status).toBe(308);
    expect(response.headers.get('location')).toBe('/contribute/');
  });

  it('keeps hashed assets for good and asks again for everything else', async () => {
    const hashed = await get('/assets/chat-D4f_g-h1.js');
    expect(hashed.headers.get('cache-control')).toContain('immutable');
    for (const path of ['/', '/models/tiny/model.safetensors', '/norm.wgsl']) {
      expect((await get(path)).headers.get('cache-control')).toBe('no-cache');
    }
  });

  it('answers 304 to a known ETag, and the whole file after a change', async () => {
    const etag = (await get('/norm.wgsl')).headers.get('etag') ?? '';
    const known = await get('/norm.wgsl', { 'if-none-match': `"other", W/${etag}` });
    expect(known.status).toBe(304);
    expect(await known.text()).toBe('');
    await writeFile(join(folder, 'dist/norm.wgsl'), 'fn changed() {}');
    expect((await get('/norm.wgsl', { 'if-none-match': etag })).status).toBe(200);
  });

  it.each([
    ['/../outside.txt'],
    ['/%2e%2e/outside.txt'],
    ['/..%2foutside.txt'],
    ['/assets/%2e%2e%2f%2e%2e%2foutside.txt'],
    ['/..%5coutside.txt'],
    ['/models/tiny/%2e%2e/outside.txt'],
    ['/.env'],
    ['/%00'],
    ['/%ff'],
    ['/assets/'],
    ['/nothing'],
  ])('%s is not found', async (path) => {
    const response = await get(path);
    expect(response.status).toBe(404);
    expect(await response.text()).not.toContain('secret');
  });

  it('says not found as a page to browsers and as JSON to programs', async () => {
    const page = await get('/nothing', { accept: 'text/html,*/*' });
    expect(page.headers.get('content-type')).toContain('text/html');
    const json: unknown = await (await get('/nothing')).json();
    expect(json).toMatchObject({ error: { code: 'bad-argument' } });
  });

  it('refuses other methods', async () => {
    const response = await get('/', {}, 'POST');
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, HEAD');
  });

  it.each([['/'], ['/models/tiny/config.json'], ['/nothing'], ['/healthz']])(
    'isolates %s, so that workers and shared memory work',
    async (path) => {
      const { headers } = await get(path);
      expect(headers.get('cross-origin-opener-policy')).toBe('same-origin');
      expect(headers.get('cross-origin-embedder-policy')).toBe('require-corp');
      expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('content-security-policy')).toContain("script-src 'self' 'wasm-unsafe-eval'");
    },
  );

  it('tells its health, never cached', async () => {
    const response = await get('/healthz');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await response.json()).toEqual(health);
  });
});

describe('ranges', () => {
  const WEIGHTS_PATH = '/models/tiny/model.safetensors';

  it.each([
    ['bytes=0-0', 'a', 'bytes 0-0/10'],
    ['bytes=2-4', 'cde', 'bytes 2-4/10'],
    ['bytes=7-', 'hij', 'bytes 7-9/10'],
    ['bytes=-3', 'hij', 'bytes 7-9/10'],
    ['bytes=8-100', 'ij', 'bytes 8-9/10'],
    ['bytes=-100', WEIGHTS, 'bytes 0-9/10'],
  ])('%s gives %s', async (range, text, contentRange) => {
    const response = await get(WEIGHTS_PATH, { range });
    expect(response.status).toBe(206);
    expect(response.headers.get('content-range')).toBe(contentRange);
    expect(response.headers.get('content-length')).toBe(String(text.length));
    expect(await response.text()).toBe(text);
  });

  it.each([['bytes=10-'], ['bytes=99-100'], ['bytes=-0']])('%s is beyond the file', async (range) => {
    const response = await get(WEIGHTS_PATH, { range });
    expect(response.status).toBe(416);
    expect(response.headers.get('content-range')).toBe('bytes */10');
  });

  it.each([['bytes=4-2'], ['bytes=0-1,3-4'], ['lines=0-1'], ['bytes=-'], ['bytes=a-b']])(
    '%s is not understood and gets the whole file',
    async (range) => {
      const response = await get(WEIGHTS_PATH, { range });
      expect(response.status).toBe(200);
      expect(await response.text()).toBe(WEIGHTS);
    },
  );

  it('gives a part only of the version that If-Range names', async () => {
    const etag = (await get(WEIGHTS_PATH)).headers.get('etag') ?? '';
    expect((await get(WEIGHTS_PATH, { range: 'bytes=0-1', 'if-range': etag })).status).toBe(206);
    expect((await get(WEIGHTS_PATH, { range: 'bytes=0-1', 'if-range': '"old"' })).status).toBe(200);
  });

  it('HEAD tells the size and sends nothing', async () => {
    const response = await get(WEIGHTS_PATH, {}, 'HEAD');
    expect(response.headers.get('content-length')).toBe('10');
    expect(response.headers.get('accept-ranges')).toBe('bytes');
    expect(await response.text()).toBe('');
  });
});

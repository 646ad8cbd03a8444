import { describe, expect, it } from 'vitest';
import { createApp } from '../../../../signaling/app.ts';
import type { Health } from '../../../../signaling/app.ts';
import { EMBEDDED_MODEL } from '../../../rig/local-server.ts';
import { GatewayRig, QUESTION } from './gateway-rig.ts';

const ORIGIN = 'https://app.example.org';

function appFor(corsOrigins: readonly string[]) {
  return createApp({
    health: () => ({}) as Health,
    roots: [{ urlPath: '/models/tiny/', folder: EMBEDDED_MODEL }],
    onError: (error) => {
      throw error;
    },
    gateway: new GatewayRig().app,
    corsOrigins,
  });
}

function ask(app: ReturnType<typeof appFor>, origin: string) {
  const headers = { 'content-type': 'application/json', origin };
  return app.request('/v1/chat/completions', { method: 'POST', headers, body: JSON.stringify(QUESTION) });
}

function preflight(app: ReturnType<typeof appFor>, path: string, method: string) {
  const wanted = 'authorization,content-type,x-stainless-os';
  const headers = {
    origin: ORIGIN,
    'access-control-request-method': method,
    'access-control-request-headers': wanted,
  };
  return app.request(path, { method: 'OPTIONS', headers });
}

describe('pages of other origins', () => {
  it('are let in nowhere by default', async () => {
    const app = appFor([]);
    for (const path of ['/v1/chat/completions', '/models/tiny/config.json']) {
      const { headers } = await preflight(app, path, 'POST');
      expect(headers.get('access-control-allow-origin')).toBeNull();
    }
    const { headers } = await ask(app, ORIGIN);
    expect(headers.get('access-control-allow-origin')).toBeNull();
    expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
  });

  it('use the API where they are named, with whatever headers their client sends', async () => {
    const app = appFor([ORIGIN]);
    const before = await preflight(app, '/v1/chat/completions', 'POST');
    expect(before.status).toBe(204);
    expect(before.headers.get('access-control-allow-origin')).toBe(ORIGIN);
    expect(before.headers.get('access-control-allow-methods')).toContain('POST');
    expect(before.headers.get('access-control-allow-headers')).toBe(
      'authorization,content-type,x-stainless-os',
    );
    const response = await ask(app, ORIGIN);
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([200, ORIGIN]);
    expect(response.headers.get('access-control-expose-headers')).toContain('retry-after');
    expect(response.headers.get('access-control-allow-credentials')).toBeNull();
  });

  it('are told what went wrong, too', async () => {
    const response = await appFor([ORIGIN]).request('/v1/nothing', { headers: { origin: ORIGIN } });
    expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([404, ORIGIN]);
  });

  it('are not let in by the name of another', async () => {
    for (const origin of ['https://other.example.org', `${ORIGIN}.evil.example`, 'null']) {
      const { headers } = await ask(appFor([ORIGIN]), origin);
      expect(headers.get('access-control-allow-origin')).not.toBe(origin);
    }
  });

  it("read parts of the models' files, and no pages", async () => {
    const app = appFor(['*']);
    const headers = { origin: ORIGIN, range: 'bytes=0-3' };
    const part = await app.request('/models/tiny/config.json', { headers });
    expect([part.status, part.headers.get('access-control-allow-origin')]).toEqual([206, '*']);
    expect(part.headers.get('cross-origin-resource-policy')).toBe('cross-origin');
    expect(part.headers.get('access-control-expose-headers')).toContain('content-range');
    const page = await app.request('/', { headers });
    expect(page.headers.get('access-control-allow-origin')).toBeNull();
  });
});

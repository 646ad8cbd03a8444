import { Hono } from 'hono';
import type { ModelId } from '../src/protocol/ids.ts';
import { crossOrigin } from './gateway/cross-origin.ts';
import type { GatewayEnv } from './gateway/client.ts';
import { explainPlainHttp } from './plain-page.ts';
import type { CertificateFacts } from './plain-page.ts';
import { SECURITY_HEADERS } from './security-headers.ts';
import { serveFile } from './static-files.ts';
import type { StaticRoot } from './static-files.ts';

/** What `/healthz` tells: enough for a probe and for a look at the mesh. */
export interface Health {
  readonly status: 'ok';
  readonly uptimeSeconds: number;
  /** Connected pages and programs. */
  readonly peers: number;
  /** Peers that hold or load a slice. */
  readonly contributors: number;
  /** Requests that hold a route. */
  readonly requests: number;
  /** Requests that wait for room. */
  readonly queued: number;
  readonly models: readonly ModelId[];
  /** Models with a serving peer for every layer. */
  readonly covered: readonly ModelId[];
}

export interface AppDeps {
  readonly health: () => Health;
  /** Searched in order. */
  readonly roots: readonly StaticRoot[];
  readonly onError: (error: unknown) => void;
  /** What answers at `/admin/`; without it there is nothing there. */
  readonly admin?: Hono<GatewayEnv>;
  /** What answers at `/v1/` and `/metrics`; without it there is nothing there. */
  readonly gateway?: Hono<GatewayEnv>;
  /** Origins whose pages may use the gateway, and read the models' files, or `*` for all; none by default. */
  readonly corsOrigins?: readonly string[];
  /** Of the HTTPS that the same port speaks, if it does: pages over plain HTTP then say where they are. */
  readonly certificate?: CertificateFacts;
  /** Believe what a proxy says of how a request came. */
  readonly trustProxy?: boolean;
}

const NOT_FOUND_PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Not found · Skein</title>
<h1>There is no such page</h1>
<p>Try <a href="/">chat</a> or <a href="/contribute/">lend a GPU</a>.</p></html>
`;

/** Everything that is plain HTTP. Makes no socket: `app.fetch` and `app.request` are the whole interface. */
export function createApp(deps: AppDeps): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>();
  app.use(async (context, next) => {
    await next();
    const { headers } = context.res;
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) {
      if (!headers.has(name)) headers.set(name, value);
    }
  });
  for (const path of ['/v1/*', '/models/*']) app.use(path, crossOrigin(deps.corsOrigins ?? []));
  app.get('/healthz', (context) => {
    context.header('cache-control', 'no-store');
    return context.json(deps.health());
  });
  if (deps.certificate) app.get('*', explainPlainHttp(deps.certificate, deps.trustProxy ?? false));
  if (deps.gateway) app.route('/', deps.gateway);
  if (deps.admin) app.route('/admin', deps.admin);
  app.get('*', async (context, next) => {
    const response = await serveFile(context.req.raw, deps.roots);
    if (response === null) return next();
    return response;
  });
  app.all('*', (context) => {
    if (context.req.method !== 'GET' && context.req.method !== 'HEAD') {
      context.header('allow', 'GET, HEAD');
      return context.json(
        { error: { code: 'bad-argument', message: 'Only GET and HEAD are answered here.' } },
        405,
      );
    }
    if (context.req.header('accept')?.includes('text/html') === true)
      return context.html(NOT_FOUND_PAGE, 404);
    const message = `There is nothing at ${context.req.path}.`;
    return context.json({ error: { code: 'bad-argument', message } }, 404);
  });
  app.onError((error, context) => {
    deps.onError(error);
    return context.json(
      { error: { code: 'internal', message: 'The server failed; its log says how.' } },
      500,
    );
  });
  return app;
}

import type { MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';

const PREFLIGHT_SECONDS = 600;
/** What scripts of other sites may read beside the body. */
const EXPOSED_HEADERS = [
  'x-request-id',
  'request-id',
  'retry-after',
  'x-queue-position',
  'content-range',
  'content-length',
  'etag',
];

/**
 * Lets pages of other origins in, as the browser asks for them. They send no cookies: there are none.
 * @param origins such as `https://app.example.org`, or `*` for all of them; none keeps everybody out.
 */
export function crossOrigin(origins: readonly string[]): MiddlewareHandler {
  if (origins.length === 0) return (_context, next) => next();
  const allow = cors({
    origin: origins.includes('*') ? '*' : [...origins],
    allowMethods: ['GET', 'HEAD', 'POST'],
    exposeHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_SECONDS,
  });
  return async (context, next) => {
    const answer = await allow(context, next);
    // Pages that are isolated load nothing else.
    context.res.headers.set('cross-origin-resource-policy', 'cross-origin');
    return answer;
  };
}

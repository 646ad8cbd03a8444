import type { IncomingMessage } from 'node:http';

/**
 * Where a request comes from.
 * @param trustProxy believe the last entry of X-Forwarded-For: the one that a proxy of our own wrote.
 */
export function clientAddress(request: IncomingMessage, trustProxy: boolean): string {
  const forwarded = request.headers['x-forwarded-for'];
  const entries = (Array.isArray(forwarded) ? forwarded.join(',') : (forwarded ?? '')).split(',');
  const last = entries.at(-1)?.trim() ?? '';
  return trustProxy && last !== '' ? last : (request.socket.remoteAddress ?? 'unknown');
}

import { isIP } from 'node:net';

/**
 * Whether a request came over TLS: to this server, or to the proxy before it.
 * @param trustProxy believe the last entry of X-Forwarded-Proto: the one that a proxy of our own wrote.
 */
export function cameOverTls({ url, headers }: Request, trustProxy: boolean): boolean {
  if (url.startsWith('https:')) return true;
  const forwarded = headers.get('x-forwarded-proto') ?? '';
  return trustProxy && forwarded.split(',').at(-1)?.trim() === 'https';
}

/**
 * Whether browsers give a page of this host what they give to secure ones, also without TLS.
 * @param hostname as `URL` has it: lower case, IPv6 in brackets.
 * @see https://w3c.github.io/webappsec-secure-contexts/#is-origin-trustworthy
 */
export function isLoopbackName(hostname: string): boolean {
  if (hostname === '[::1]' || hostname === 'localhost' || hostname.endsWith('.localhost')) return true;
  return isIP(hostname) === 4 && hostname.startsWith('127.');
}

/** Whether an `Origin` is that of a page which browsers treat as insecure. */
export function isInsecureOrigin(origin: string): boolean {
  if (!URL.canParse(origin)) return false;
  const { protocol, hostname } = new URL(origin);
  return protocol === 'http:' && !isLoopbackName(hostname);
}

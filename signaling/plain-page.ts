import type { MiddlewareHandler } from 'hono';
import { renderSVG } from 'uqr';
import { cameOverTls, isLoopbackName } from './tls-origin.ts';

/** A longer link makes a code that phones cannot read from a screen. */
const MAX_QR_CHARACTERS = 200;

/** What answers what it always did over plain HTTP as well: probes, programs and their files. */
const PROGRAM_PATHS = /^\/(?:healthz$|metrics$|(?:v1|admin|models)\/)/;

/** What people can compare a certificate with that their browser does not know. */
export interface CertificateFacts {
  /** SHA-256, in hex with colons. */
  readonly fingerprint: string;
  /** Whether this server made it itself, so that browsers warn of it. */
  readonly isSelfMade: boolean;
}

/** Answers with the explanation where somebody is about to open a page that would be of no use. */
export function explainPlainHttp(certificate: CertificateFacts, trustProxy: boolean): MiddlewareHandler {
  return async ({ req, header, html, json }, next) => {
    const { hostname } = new URL(req.url);
    if (cameOverTls(req.raw, trustProxy) || isLoopbackName(hostname) || PROGRAM_PATHS.test(req.path)) {
      await next();
      return;
    }
    const url = secureUrl(req.url);
    header('cache-control', 'no-store');
    if (req.header('accept')?.includes('text/html') === true) return html(plainPage(url, certificate), 403);
    const message = `Pages are served over HTTPS here: open ${url}`;
    return json({ error: { code: 'bad-argument', message } }, 403);
  };
}

/** The same page over HTTPS, on the same port. */
export function secureUrl(plainUrl: string): string {
  const url = new URL(plainUrl);
  url.protocol = 'https:';
  return url.href.length <= MAX_QR_CHARACTERS ? url.href : `${url.origin}/`;
}

/**
 * Says why this page has to be opened over HTTPS, with a link and a code to scan. Needs no script, and nothing else of this server.
 * @param url where it is to be opened: `secureUrl`.
 */
export function plainPage(url: string, { fingerprint, isSelfMade }: CertificateFacts): string {
  const link = escaped(url);
  const warning = isSelfMade
    ? `<h2>The warning that comes</h2>
<p>This server made its certificate itself, so no authority vouches for it, and your browser warns you. Whoever runs the server can
tell you the fingerprint. If the one that your browser shows for the certificate is this, go on (“Advanced”, then “Proceed” or “Accept the risk”):</p>`
    : '<h2>The certificate</h2>\n<p>Its SHA-256 fingerprint is:</p>';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Open this over HTTPS · Skein</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 0 auto; padding: 1.5rem; }
  h1 { font-size: 1.5rem; line-height: 1.3; }
  h2 { font-size: 1.125rem; margin-top: 2rem; }
  a { font-size: 1.125rem; overflow-wrap: anywhere; }
  svg { width: 12rem; height: 12rem; background: #fff; }
  code { overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>Open this page over HTTPS</h1>
<p>Browsers give a page the GPU, and the means to keep what it says private, only over a secure connection. This page came over plain HTTP,
so it could neither lend this device nor chat.</p>
<p><a href="${link}">${link}</a></p>
<p>Or scan this with a phone in the same network:</p>
${renderSVG(url).replace('<svg ', `<svg role="img" aria-label="QR code of ${link}" `)}
${warning}
<p><code>${escaped(fingerprint)}</code></p>
<p>On the machine that runs the server, <code>http://localhost</code> works without it.</p>
</body>
</html>
`;
}

function escaped(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
  };
  return text.replace(/[&<>"]/g, (character) => entities[character] ?? character);
}

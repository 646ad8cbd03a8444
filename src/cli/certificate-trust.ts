import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { connect, rootCertificates } from 'node:tls';
import type { PeerCertificate } from 'node:tls';
import { InvalidArgumentError, Option } from 'commander';
import { WebSocket } from 'ws';
import type { SessionParts } from '../mesh/open-session.ts';
import { SkeinError } from '../protocol/errors.ts';

const TIMEOUT_MS = 10_000;
/**
 * Under which Node keeps what its `fetch` connects with. It has no documented way to trust one more certificate while it runs
 * before version 22.19, whose `tls.setDefaultCACertificates` is to take the place of this.
 * @see https://github.com/nodejs/undici/blob/main/lib/global.js
 */
const DISPATCHER = Symbol.for('undici.globalDispatcher.1');

/** What a session needs to reach a server whose certificate is trusted by its fingerprint; nothing for any other. */
export type TrustedParts = Pick<SessionParts, 'createSocket'>;

export function fingerprintOption(): Option {
  return new Option(
    '--fingerprint <sha256>',
    'trust the server with this certificate, which no authority vouches for; it prints its fingerprint when it starts',
  ).argParser(parseFingerprint);
}

/** @returns 64 digits of hex, lower case. @throws InvalidArgumentError */
export function parseFingerprint(text: string): string {
  const digits = text
    .replace(/^sha-?256[:=]/i, '')
    .replace(/[:\s]/g, '')
    .toLowerCase();
  if (/^[0-9a-f]{64}$/.test(digits)) return digits;
  throw new InvalidArgumentError(
    'Give the SHA-256 fingerprint of a certificate: 64 digits of hex, or 32 pairs with colons.',
  );
}

/**
 * Makes this process trust a server's certificate beside those of the authorities it knows, if it is the one of the fingerprint.
 * To be awaited before anything is asked of the server. Everything else is checked as always, the name in the certificate too.
 * @throws SkeinError `bad-argument` for another certificate, or a server without one; `server-lost`.
 */
export async function trustFingerprint(
  serverUrl: string,
  fingerprint: string | undefined,
  signal?: AbortSignal,
): Promise<TrustedParts> {
  if (fingerprint === undefined) return {};
  const { protocol, hostname, port, host } = new URL(serverUrl);
  if (protocol !== 'https:') {
    throw new SkeinError('bad-argument', `--fingerprint is for an address with https://, not ${serverUrl}.`);
  }
  const name = hostname.replace(/^\[(.*)\]$/, '$1');
  const shown = await certificateOf(name, port === '' ? 443 : Number(port), signal);
  const found = shown.fingerprint256.replaceAll(':', '').toLowerCase();
  if (found !== fingerprint) {
    throw new SkeinError(
      'bad-argument',
      `The certificate of ${host} has the fingerprint ${found}, not ${fingerprint}. Either the server made another one, ` +
        'which it prints when it starts, or this is another server.',
    );
  }
  if ((isIP(name) > 0 ? shown.checkIP(name) : shown.checkHost(name)) === undefined) {
    throw new SkeinError(
      'bad-argument',
      `The certificate of ${host} is not for ${name}, but for: ${shown.subjectAltName ?? 'nothing'}.`,
    );
  }
  if (!shown.verify(shown.publicKey)) {
    throw new SkeinError(
      'bad-argument',
      `The certificate of ${host} was issued by an authority (${shown.issuer.replaceAll('\n', ', ')}), which a fingerprint does not vouch for. ` +
        "Leave --fingerprint out, or name the authority's own certificate in NODE_EXTRA_CA_CERTS.",
    );
  }
  const ca = [...rootCertificates, shown.toString()];
  await letFetchTrust(ca);
  return { createSocket: (url) => new WebSocket(url, { ca }) };
}

/** Nothing is sent to the server, and nothing but this is read of it. */
async function certificateOf(host: string, port: number, signal?: AbortSignal): Promise<X509Certificate> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const over = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  const where = `The server at ${host}:${port}`;
  return new Promise((resolve, reject) => {
    // The certificate is what is to be looked at, so it is taken unseen here, and only here.
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      ...(isIP(host) === 0 && { servername: host }),
    });
    const fail = (error: SkeinError) => {
      socket.destroy();
      reject(error);
    };
    const giveUp = () => {
      const isLate = timeout.aborted;
      fail(
        isLate
          ? new SkeinError('timeout', `${where} showed no certificate within ${TIMEOUT_MS / 1000} s.`)
          : new SkeinError('aborted', `Connecting to ${host}:${port} was cancelled.`),
      );
    };
    if (over.aborted) giveUp();
    else over.addEventListener('abort', giveUp);
    socket.once('error', (cause: Error) =>
      fail(new SkeinError('server-lost', `${where} speaks no HTTPS: ${cause.message}.`, { cause })),
    );
    socket.once('secureConnect', () => {
      const { raw } = socket.getPeerCertificate() as Partial<PeerCertificate>;
      socket.destroy();
      if (raw === undefined) reject(new SkeinError('bad-argument', `${where} showed no certificate.`));
      else resolve(new X509Certificate(raw));
    });
  });
}

type DispatcherOf = new (options: { connect: { ca: readonly string[] } }) => object;

async function letFetchTrust(ca: readonly string[]): Promise<void> {
  // Node makes its dispatcher at the first use.
  await fetch('data:,');
  const current: unknown = Reflect.get(globalThis, DISPATCHER);
  if (typeof current !== 'object' || current === null) {
    throw new SkeinError(
      'internal',
      `Node ${process.versions.node} cannot be told to trust a certificate. Save it from the server, and start again with NODE_EXTRA_CA_CERTS=<its file>.`,
    );
  }
  // Cast: what Node connects with is made by a constructor of these options.
  const Dispatcher = current.constructor as DispatcherOf;
  Reflect.set(globalThis, DISPATCHER, new Dispatcher({ connect: { ca } }));
}

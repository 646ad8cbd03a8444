import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { CertificateFacts } from '../../signaling/plain-page.ts';
import type { TlsIdentity } from '../../signaling/tls-port.ts';
import { SkeinError } from '../protocol/errors.ts';

/** What a server proves with who it is. */
export interface Certificate extends TlsIdentity, CertificateFacts {}

/**
 * A certificate of the operator's own, and its key.
 * @param certPath PEM, with the chain behind it if there is one.
 * @throws SkeinError `bad-argument` for files that cannot be read, hold something else or do not belong together, and for a
 * certificate that has ended or has not begun.
 */
export async function readCertificate(
  certPath: string,
  keyPath: string,
  nowMs = Date.now(),
): Promise<Certificate> {
  const [cert, key] = [await readText(certPath), await readText(keyPath)];
  const x509 = parse(certPath, 'certificate', () => new X509Certificate(cert));
  const privateKey = parse(keyPath, 'private key without a password', () => createPrivateKey(key));
  if (!x509.checkPrivateKey(privateKey)) {
    throw wrong(
      `${keyPath} is not the key of the certificate in ${certPath}. Give the one it was made with.`,
    );
  }
  if (Date.parse(x509.validTo) <= nowMs) {
    throw wrong(`The certificate in ${certPath} ended on ${x509.validTo}. Renew it, or use --https alone.`);
  }
  if (Date.parse(x509.validFrom) > nowMs) {
    throw wrong(`The certificate in ${certPath} begins on ${x509.validFrom}: is this machine's clock right?`);
  }
  return { cert, key, fingerprint: x509.fingerprint256, isSelfMade: false };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw wrong(`${path} cannot be read: ${SkeinError.from(cause).message}.`, cause);
  }
}

function parse<T>(path: string, what: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    throw wrong(`${path} holds no ${what} in PEM form: ${SkeinError.from(cause).message}.`, cause);
  }
}

function wrong(message: string, cause?: unknown): SkeinError {
  return new SkeinError('bad-argument', message, { cause });
}

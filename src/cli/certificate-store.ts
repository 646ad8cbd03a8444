import { createPrivateKey, randomUUID, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { SkeinError } from '../protocol/errors.ts';
import type { Certificate } from './certificate.ts';
import type { CertificateNames } from './certificate-names.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
/** Apple's devices take no certificate that is good for longer than 398 days. One of them before now: clocks differ. */
const VALID_DAYS = 396;
const BACKDATED_DAYS = 1;
/** One that ends sooner is made anew, so that it does not end while the server runs for a month. */
const RENEW_DAYS = 30;
/** Rights of anybody but the file's owner. */
const OTHERS_RIGHTS = 0o077;
const MAX_COMMON_NAME = 64;

/** A server's own certificate, and why it is another one than before; null where it is the same. */
export interface KeptCertificate {
  readonly certificate: Certificate;
  /** What programs on other machines can be told to trust: the certificate without its key. */
  readonly publicPath: string;
  readonly madeBecause: string | null;
}

/**
 * The certificate that a server made for itself, the same at every start: for as long as it names everything that the server is
 * called, and for 30 days more. Key and certificate are one file, which only its owner can read.
 * @param folder where it is kept. @throws SkeinError `bad-argument` where it cannot be kept, or others can read its key.
 */
export async function keptCertificate(
  folder: string,
  names: CertificateNames,
  nowMs = Date.now(),
): Promise<KeptCertificate> {
  const path = join(folder, 'https.pem');
  const publicPath = join(folder, 'https-certificate.pem');
  try {
    const kept = await readKept(path);
    const madeBecause = whyMadeAnew(kept, names, nowMs);
    const pem = madeBecause === null ? kept : await makeCertificate(names, nowMs);
    if (pem === null) throw new SkeinError('internal', 'There is no certificate to keep.');
    if (madeBecause !== null) await replaceFile(path, pem.key + pem.cert, 0o600);
    await replaceFile(publicPath, pem.cert, 0o644);
    const { fingerprint256: fingerprint } = new X509Certificate(pem.cert);
    return { certificate: { ...pem, fingerprint, isSelfMade: true }, publicPath, madeBecause };
  } catch (thrown) {
    const error = SkeinError.from(thrown, 'bad-argument');
    if (error.code === 'bad-argument' && error === thrown) throw error;
    throw new SkeinError('bad-argument', `The certificate cannot be kept in ${folder}: ${error.message}`, {
      cause: thrown,
    });
  }
}

interface PemPair {
  readonly key: string;
  readonly cert: string;
}

/** @returns null where there is none, or one that is damaged. */
async function readKept(path: string): Promise<PemPair | null> {
  let text: string;
  try {
    const { mode } = await stat(path);
    // Windows has rights of another kind.
    if (process.platform !== 'win32' && (mode & OTHERS_RIGHTS) !== 0) {
      const words = `${path} holds a key and can be read by others. Run chmod 600 on it if nobody has, or delete it.`;
      throw new SkeinError('bad-argument', words);
    }
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return null;
    throw thrown;
  }
  const start = text.indexOf('-----BEGIN CERTIFICATE-----');
  if (start < 0) return null;
  const pair = { key: text.slice(0, start), cert: text.slice(start) };
  try {
    return new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key)) ? pair : null;
  } catch {
    return null;
  }
}

/** @returns in half a sentence; null for one that can be used. */
function whyMadeAnew(kept: PemPair | null, names: CertificateNames, nowMs: number): string | null {
  if (kept === null) return 'there was none';
  const x509 = new X509Certificate(kept.cert);
  if (Date.parse(x509.validTo) - nowMs < RENEW_DAYS * DAY_MS) return `the last one ends on ${x509.validTo}`;
  const missing =
    names.dns.find((name) => x509.checkHost(name) === undefined) ??
    names.addresses.find((address) => x509.checkIP(address) === undefined);
  return missing === undefined ? null : `the last one is not for ${missing}`;
}

async function makeCertificate({ dns, addresses }: CertificateNames, nowMs: number): Promise<PemPair> {
  const commonName = `Skein on ${dns.at(-1) ?? 'localhost'}`.slice(0, MAX_COMMON_NAME);
  const made = await generate([{ name: 'commonName', value: commonName }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notBeforeDate: new Date(nowMs - BACKDATED_DAYS * DAY_MS),
    notAfterDate: new Date(nowMs + VALID_DAYS * DAY_MS),
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [
          ...dns.map((value) => ({ type: 2 as const, value })),
          ...addresses.map((ip) => ({ type: 7 as const, ip })),
        ],
      },
    ],
  });
  const ended = (pem: string) => `${pem.trim()}\n`;
  return { key: ended(made.private), cert: ended(made.cert) };
}

/** Nobody ever sees half of it: it gets its name when it is whole. */
async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomUUID()}`;
  try {
    await writeFile(draft, text, { mode, flag: 'wx' });
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}

import { hostname, networkInterfaces } from 'node:os';
import { Option } from 'commander';
import type { Command } from 'commander';
import { SkeinError } from '../protocol/errors.ts';
import { readCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { certificateNames } from './certificate-names.ts';
import { keptCertificate } from './certificate-store.ts';

/** How a server speaks HTTPS, as an operator says it. */
export interface HttpsOptions {
  readonly https: boolean;
  readonly cert?: string;
  readonly key?: string;
}

export function addHttpsOptions(command: Command): Command {
  return command
    .option(
      '--https',
      'speak HTTPS as well, on the same port and to the whole network, with a certificate made here',
      false,
    )
    .addOption(
      new Option('--cert <file>', 'certificate (PEM) to speak HTTPS with; with --key').env('SKEIN_CERT'),
    )
    .addOption(new Option('--key <file>', 'its private key (PEM)').env('SKEIN_KEY'));
}

/** Without another wish, HTTPS is for the other machines of the network, and plain HTTP for this one. */
export function listenAddress(host: string, isDefault: boolean, options: HttpsOptions): string {
  return isDefault && speaksHttps(options) ? '0.0.0.0' : host;
}

/**
 * @param host that the server listens on. @param folder where a certificate that is made here is kept.
 * @returns null for a server without HTTPS. @throws SkeinError `bad-argument`.
 */
export async function httpsCertificate(
  options: HttpsOptions,
  host: string,
  folder: string,
  say: (line: string) => void,
): Promise<Certificate | null> {
  const { cert, key } = options;
  if (!speaksHttps(options)) return null;
  if (cert !== undefined && key !== undefined) return readCertificate(cert, key);
  if (cert !== undefined || key !== undefined) {
    throw new SkeinError(
      'bad-argument',
      '--cert and --key go together. Give both, or --https alone for a certificate made here.',
    );
  }
  const names = certificateNames(host, hostname(), networkInterfaces());
  const { certificate, publicPath, madeBecause } = await keptCertificate(folder, names);
  if (madeBecause !== null)
    say(`Made a certificate for HTTPS, because ${madeBecause}; it is in ${publicPath}`);
  return certificate;
}

function speaksHttps({ https, cert, key }: HttpsOptions): boolean {
  return https || cert !== undefined || key !== undefined;
}

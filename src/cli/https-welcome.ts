import { isIP } from 'node:net';
import { renderUnicodeCompact } from 'uqr';
import type { Certificate } from './certificate.ts';
import { reachableAddresses } from './certificate-names.ts';
import type { Interfaces } from './certificate-names.ts';

export interface HttpsWelcome {
  /** What the server listens on. */
  readonly host: string;
  readonly port: number;
  readonly certificate: Certificate | null;
  readonly interfaces: Interfaces;
  /** Whether a person looks at a terminal, which can show a code to scan. */
  readonly isTerminal: boolean;
}

/** What an operator needs to know to have other machines come, in lines; none where none can. */
export function httpsWelcome({ host, port, certificate, interfaces, isTerminal }: HttpsWelcome): string[] {
  const isName = isIP(host) === 0 && host !== 'localhost';
  const addresses = isName ? [host] : reachableAddresses(host, interfaces);
  const [first] = addresses;
  if (first === undefined) return [];
  if (certificate === null) {
    return [
      `Other machines find it at ${urlOf('http', first, port)}, but over plain HTTP browsers give pages neither the GPU nor`,
      'what keeps answers private. Start it with --https, or put a proxy that speaks HTTPS in front.',
    ];
  }
  const [best, ...others] = addresses.map((address) => urlOf('https', address, port));
  if (best === undefined) return [];
  const elsewhere = others.length === 0 ? '' : ` (also ${others.join(', ')})`;
  const compare = [
    `Browsers warn of it once; the fingerprint of its certificate is ${certificate.fingerprint}`,
    `Programs: skein join ${best} --fingerprint ${certificate.fingerprint.replaceAll(':', '')}`,
  ];
  return [
    `Other machines and phones: ${best}/${elsewhere}`,
    ...(isTerminal ? [renderUnicodeCompact(`${best}/`)] : []),
    ...(certificate.isSelfMade ? compare : [`Its certificate, SHA-256: ${certificate.fingerprint}`]),
  ];
}

function urlOf(scheme: string, address: string, port: number): string {
  return `${scheme}://${isIP(address) === 6 ? `[${address}]` : address}:${port}`;
}

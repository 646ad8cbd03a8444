import { isIP } from 'node:net';
import type { NetworkInterfaceInfo } from 'node:os';

/** By what a server can be called, and so what its certificate is for. */
export interface CertificateNames {
  readonly dns: readonly string[];
  readonly addresses: readonly string[];
}

export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

const IPV4_WILDCARD = '0.0.0.0';
const WILDCARDS: readonly string[] = [IPV4_WILDCARD, '::'];

/**
 * Addresses at which other machines reach a server that listens on `host`, IPv4 first. Without link-local ones: browsers take
 * no address that needs a zone.
 */
export function reachableAddresses(host: string, interfaces: Interfaces): string[] {
  const own = Object.values(interfaces)
    .flatMap((infos) => infos ?? [])
    .filter(({ internal, address }) => !internal && !/^(?:fe[89ab]|169\.254\.)/i.test(address))
    .map(({ address }) => address)
    .sort((a, b) => isIP(a) - isIP(b));
  if (host === '::') return own;
  if (host === IPV4_WILDCARD) return own.filter((address) => isIP(address) === 4);
  return own.filter((address) => address === host);
}

/** All names of a machine that listens on `host`; those of itself only where nobody else reaches it. */
export function certificateNames(host: string, hostname: string, interfaces: Interfaces): CertificateNames {
  const isName = isIP(host) === 0;
  const dns = ['localhost', ...(isName ? [host] : []), ...(isDnsName(hostname) ? [hostname] : [])];
  const named = isName || WILDCARDS.includes(host) ? [] : [host];
  const addresses = ['127.0.0.1', '::1', ...named, ...reachableAddresses(host, interfaces)];
  return { dns: unique(dns), addresses: unique(addresses) };
}

function isDnsName(name: string): boolean {
  return /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/i.test(name);
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}

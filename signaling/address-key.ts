import { isIPv4, isIPv6 } from 'node:net';
import type { PeerId } from '../src/protocol/ids.ts';

/** Groups of an IPv6 address that its network has: the rest is the choice of whoever is in it. */
const NETWORK_GROUPS = 4;

/**
 * What counts as one address: an IPv4 address, however it is written, or the /64 network of an IPv6 address, of which one
 * person has all.
 */
export function addressKey(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined && isIPv4(mapped)) return mapped;
  if (!isIPv6(address)) return address;
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::');
  const before = groupsOf(head);
  const after = groupsOf(tail ?? '');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  const groups = [...before, ...Array.from({ length: zeros }, () => '0'), ...after];
  return `${groups.slice(0, NETWORK_GROUPS).join(':')}::/64`;
}

/**
 * Who counts as one when peers accuse each other: all of one address are the same, but for those on the server's own machine,
 * where everybody has that one.
 */
export function accuserName(address: string, peer: PeerId): string {
  return isLoopback(address) ? peer : addressKey(address);
}

/** Whether it is this machine. */
export function isLoopback(address: string): boolean {
  return address === '::1' || addressKey(address).startsWith('127.');
}

/** Without leading zeros; what is written as IPv4 stands for two groups. */
function groupsOf(part: string): string[] {
  if (part === '') return [];
  return part
    .split(':')
    .flatMap((group) => (group.includes('.') ? [group, group] : parseInt(group, 16).toString(16)));
}

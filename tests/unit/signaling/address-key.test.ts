import { expect, it } from 'vitest';
import { accuserName, addressKey } from '../../../signaling/address-key.ts';
import { peerId } from './scheduler/instances.ts';

it('is an IPv4 address, however it is written', () => {
  expect(addressKey('203.0.113.7')).toBe('203.0.113.7');
  expect(addressKey('::ffff:203.0.113.7')).toBe('203.0.113.7');
  expect(addressKey('::FFFF:203.0.113.7')).toBe('203.0.113.7');
});

it('is the network of an IPv6 address, of which one person has all addresses', () => {
  const same = [
    '2001:db8:1:2::1',
    '2001:0db8:0001:0002:ffff:ffff:ffff:ffff',
    '2001:DB8:1:2:3::',
    '2001:db8:1:2:3:4:1.2.3.4',
  ];
  expect(new Set(same.map(addressKey))).toEqual(new Set(['2001:db8:1:2::/64']));
  expect(addressKey('2001:db8:1:3::1')).not.toBe(addressKey('2001:db8:1:2::1'));
  expect(addressKey('2001:db8::1')).toBe('2001:db8:0:0::/64');
  expect(addressKey('fe80::1%eth0')).toBe(addressKey('fe80::2'));
});

it('is what a proxy wrote, where that is no address', () => {
  expect(addressKey('unknown')).toBe('unknown');
});

it('counts everybody on this machine for one accuser each, and everybody else by address', () => {
  const [a, b] = [peerId(1), peerId(2)];
  for (const loopback of ['127.0.0.1', '::1', '::ffff:127.0.0.1', '127.1.2.3']) {
    expect(accuserName(loopback, a)).not.toBe(accuserName(loopback, b));
  }
  for (const remote of ['203.0.113.7', '2001:db8::1', 'unknown', '128.0.0.1', '::2']) {
    expect(accuserName(remote, a)).toBe(accuserName(remote, b));
  }
});

import type { NetworkInterfaceInfo } from 'node:os';
import { expect, it } from 'vitest';
import { httpsWelcome } from '../../../src/cli/https-welcome.ts';
import { listenAddress } from '../../../src/cli/https-options.ts';

const certificate = { cert: '', key: '', fingerprint: 'AB:CD', isSelfMade: true };
const info = (address: string) => ({ address, internal: false }) as NetworkInterfaceInfo;
const LAN = {
  host: '0.0.0.0',
  port: 3000,
  certificate,
  interfaces: { a: [info('192.168.1.5'), info('fd00::2')], b: [info('10.0.0.7')] },
  isTerminal: false,
};

it('says where others find it, what to compare, and how programs trust it', () => {
  const words = httpsWelcome(LAN).join('\n');
  expect(words).toContain('https://192.168.1.5:3000/ (also https://10.0.0.7:3000)');
  expect(words).toContain('AB:CD');
  expect(words).toContain('skein join https://192.168.1.5:3000 --fingerprint ABCD');
  expect(httpsWelcome({ ...LAN, host: '::' }).join('\n')).toContain('https://[fd00::2]:3000');
  expect(httpsWelcome({ ...LAN, host: 'mesh.lan' }).join('\n')).toContain('https://mesh.lan:3000/');
});

it('shows a code to scan in a terminal only', () => {
  expect(httpsWelcome(LAN).join('\n')).not.toMatch(/[▀▄█]/);
  expect(httpsWelcome({ ...LAN, isTerminal: true }).join('\n')).toMatch(/[▀▄█]{3}/);
});

it('says nothing of a warning where the certificate is the operator’s own', () => {
  const words = httpsWelcome({ ...LAN, certificate: { ...certificate, isSelfMade: false } }).join('\n');
  expect(words).not.toMatch(/warn|--fingerprint/);
});

it('advises HTTPS where others reach it without, and says nothing where nobody does', () => {
  expect(httpsWelcome({ ...LAN, certificate: null }).join('\n')).toContain('--https');
  for (const host of ['127.0.0.1', 'localhost']) {
    expect(httpsWelcome({ ...LAN, host, certificate: null })).toEqual([]);
  }
});

it('listens to the network where HTTPS is wanted and nothing else is said', () => {
  const off = { https: false };
  expect(listenAddress('127.0.0.1', true, off)).toBe('127.0.0.1');
  expect(listenAddress('127.0.0.1', true, { https: true })).toBe('0.0.0.0');
  expect(listenAddress('127.0.0.1', true, { ...off, cert: 'c', key: 'k' })).toBe('0.0.0.0');
  expect(listenAddress('127.0.0.1', false, { https: true })).toBe('127.0.0.1');
});

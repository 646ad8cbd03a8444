import { X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import type { NetworkInterfaceInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readCertificate } from '../../../src/cli/certificate.ts';
import { certificateNames, reachableAddresses } from '../../../src/cli/certificate-names.ts';
import { keptCertificate } from '../../../src/cli/certificate-store.ts';
import { makeCertificate } from '../../fixtures/certificate.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const NAMES = { dns: ['localhost', 'box'], addresses: ['127.0.0.1', '192.168.1.5', 'fd00::2'] };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-certificate-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('a certificate that is made here', () => {
  it('is for every name, as phones want it, and its key is for its owner only', async () => {
    const { certificate, publicPath } = await keptCertificate(join(folder, 'state', 'skein'), NAMES);
    const x509 = new X509Certificate(certificate.cert);
    for (const name of NAMES.dns) expect(x509.checkHost(name)).toBe(name);
    for (const address of NAMES.addresses) expect(x509.checkIP(address)).toBe(address);
    expect(x509.checkHost('elsewhere')).toBeUndefined();
    expect(x509.publicKey.asymmetricKeyDetails).toMatchObject({ namedCurve: 'prime256v1' });
    expect(x509.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(x509.ca).toBe(false);
    const days = (Date.parse(x509.validTo) - Date.parse(x509.validFrom)) / DAY_MS;
    expect(days).toBeGreaterThan(365);
    expect(days).toBeLessThanOrEqual(398);
    expect(certificate).toMatchObject({ fingerprint: x509.fingerprint256, isSelfMade: true });
    const rights = async (name: string) => (await stat(join(folder, 'state', 'skein', name))).mode & 0o777;
    expect(await rights('https.pem')).toBe(0o600);
    expect(await readFile(publicPath, 'utf8')).toBe(certificate.cert);
    expect(await readdir(join(folder, 'state', 'skein'))).toEqual(['https-certificate.pem', 'https.pem']);
  });

  it('is the same from then on, also for fewer names', async () => {
    const first = await keptCertificate(folder, NAMES);
    const second = await keptCertificate(folder, { dns: ['localhost'], addresses: ['192.168.1.5'] });
    expect(first.madeBecause).toContain('there was none');
    expect(second).toMatchObject({ certificate: first.certificate, madeBecause: null });
  });

  it('is made anew when it ends within 30 days, lacks an address or a name, or is damaged', async () => {
    const { certificate } = await keptCertificate(folder, NAMES);
    const endsMs = Date.parse(new X509Certificate(certificate.cert).validTo);
    const before = await keptCertificate(folder, NAMES, endsMs - 31 * DAY_MS);
    expect(before.madeBecause).toBeNull();
    const renewed = await keptCertificate(folder, NAMES, endsMs - 29 * DAY_MS);
    expect(renewed.madeBecause).toContain('ends on');
    expect(renewed.certificate.fingerprint).not.toBe(certificate.fingerprint);
    const moved = { ...NAMES, addresses: [...NAMES.addresses, '10.0.0.7'] };
    expect((await keptCertificate(folder, moved)).madeBecause).toContain('not for 10.0.0.7');
    const renamed = { ...moved, dns: ['localhost', 'other'] };
    expect((await keptCertificate(folder, renamed)).madeBecause).toContain('not for other');
    const pem = await readFile(join(folder, 'https.pem'), 'utf8');
    for (const damaged of ['', 'x', pem.slice(0, 300), pem.replace('MIG', 'MIH')]) {
      await writeFile(join(folder, 'https.pem'), damaged);
      expect((await keptCertificate(folder, renamed)).madeBecause).toContain('there was none');
    }
  });

  it('is refused where others can read its key, and where it cannot be kept', async () => {
    await keptCertificate(folder, NAMES);
    await chmod(join(folder, 'https.pem'), 0o640);
    await expect(keptCertificate(folder, NAMES)).rejects.toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining('chmod 600') as string,
    });
    await expect(keptCertificate(join(folder, 'https.pem', 'below'), NAMES)).rejects.toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining('cannot be kept') as string,
    });
  });
});

describe('a certificate of the operator', () => {
  const write = async (name: string, text: string) => {
    const path = join(folder, name);
    await writeFile(path, text);
    return path;
  };

  it('is taken with its key', async () => {
    const made = await makeCertificate();
    const certificate = await readCertificate(await write('c', made.cert), await write('k', made.key));
    expect(certificate).toEqual({ ...made, isSelfMade: false });
  });

  it('is refused with the key of another, when it has ended or not begun, and when it is none', async () => {
    const [made, other] = [await makeCertificate(), await makeCertificate()];
    const [ended, early] = [await makeCertificate([-9, -1]), await makeCertificate([1, 9])];
    const refusals: [cert: string, key: string, words: string][] = [
      [made.cert, other.key, 'is not the key'],
      [ended.cert, ended.key, 'ended on'],
      [early.cert, early.key, 'begins on'],
      ['nothing', made.key, 'holds no certificate'],
      [made.cert, 'nothing', 'holds no private key'],
    ];
    for (const [cert, key, words] of refusals) {
      const read = readCertificate(await write('c', cert), await write('k', key));
      await expect(read).rejects.toMatchObject({ code: 'bad-argument' });
      await expect(read).rejects.toThrow(words);
    }
    await expect(readCertificate(join(folder, 'no'), join(folder, 'no'))).rejects.toThrow('cannot be read');
  });
});

describe('names of a machine', () => {
  const info = (address: string, internal = false) =>
    ({ address, internal, family: address.includes(':') ? 'IPv6' : 'IPv4' }) as NetworkInterfaceInfo;
  const interfaces = {
    lo: [info('127.0.0.1', true), info('::1', true)],
    eth0: [info('fd00::2'), info('fe80::1'), info('192.168.1.5')],
    wlan0: [info('169.254.1.1'), info('10.0.0.7')],
    gone: undefined,
  };

  it('are the addresses that it listens on, without those that browsers cannot open', () => {
    expect(reachableAddresses('0.0.0.0', interfaces)).toEqual(['192.168.1.5', '10.0.0.7']);
    expect(reachableAddresses('::', interfaces)).toEqual(['192.168.1.5', '10.0.0.7', 'fd00::2']);
    expect(reachableAddresses('10.0.0.7', interfaces)).toEqual(['10.0.0.7']);
    expect(reachableAddresses('127.0.0.1', interfaces)).toEqual([]);
  });

  it('are those of the machine, of what it listens on, and of the loopback', () => {
    expect(certificateNames('0.0.0.0', 'box', interfaces)).toEqual({
      dns: ['localhost', 'box'],
      addresses: ['127.0.0.1', '::1', '192.168.1.5', '10.0.0.7'],
    });
    expect(certificateNames('mesh.lan', 'not a name!', interfaces).dns).toEqual(['localhost', 'mesh.lan']);
    expect(certificateNames('192.0.2.9', 'box', {}).addresses).toEqual(['127.0.0.1', '::1', '192.0.2.9']);
  });
});

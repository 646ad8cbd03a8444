import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SkeinError } from '../../src/protocol/errors.ts';
import { findRig } from './rig.ts';
import type { Rig } from './rig.ts';

const STDERR = 2;
const BACKPORTS = 'bookworm-backports';
const APT_SOURCES = '/etc/apt/sources.list.d';
const BACKPORTS_LINE = `deb http://deb.debian.org/debian ${BACKPORTS} main\n`;

/**
 * Installs what the tests need and the machine lacks, the way the machine installs things.
 * @throws SkeinError `no-adapter` with the command to run, where it cannot be installed from here.
 */
export function prepareRig(): Rig {
  prepareChromium();
  if (process.platform === 'linux' && !hasDrivers(findRig())) installVulkanDrivers();
  const rig = findRig();
  if (process.platform === 'linux' && !hasDrivers(rig)) {
    throw new SkeinError(
      'no-adapter',
      `The kernel tests need two software Vulkan drivers and found ${describeDrivers(rig)}. Install mesa-vulkan-drivers ` +
        '23 or newer (on Debian 12: apt-get install -t bookworm-backports mesa-vulkan-drivers libvulkan1) and Chromium.',
    );
  }
  return rig;
}

/** @returns the path of a Chromium, installed if need be. @throws SkeinError `no-adapter` with the command to run. */
export function prepareChromium(): string {
  if (findRig().chromiumPath === null) installChromium();
  const { chromiumPath } = findRig();
  if (chromiumPath === null) {
    throw new SkeinError(
      'no-adapter',
      'There is no Chromium. Run: npx playwright install --with-deps chromium',
    );
  }
  return chromiumPath;
}

function hasDrivers({ vulkanDrivers }: Rig): boolean {
  return vulkanDrivers.swiftshader !== undefined && vulkanDrivers.lavapipe !== undefined;
}

export function describeDrivers({ vulkanDrivers }: Rig): string {
  const found = Object.entries(vulkanDrivers).map(([name, path]) => `${name} (${path})`);
  return found.length === 0 ? 'none' : found.join(' and ');
}

function installChromium(): void {
  if (canApt()) apt(['chromium']);
  else run('npx', ['playwright', 'install', 'chromium']);
}

function installVulkanDrivers(): void {
  if (!canApt()) return;
  const packages = ['mesa-vulkan-drivers', 'libvulkan1'];
  if (!isBookworm()) {
    apt(packages);
    return;
  }
  // Debian 12's own Mesa is 22.3, which Dawn refuses.
  if (!listsBackports()) writeFileSync(join(APT_SOURCES, `${BACKPORTS}.list`), BACKPORTS_LINE);
  apt(['-t', BACKPORTS, ...packages]);
}

function canApt(): boolean {
  return process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
}

function isBookworm(): boolean {
  return /^VERSION_CODENAME=bookworm$/m.test(readFileSync('/etc/os-release', 'utf8'));
}

function listsBackports(): boolean {
  const lists = readdirSync(APT_SOURCES).filter((name) => /\.(list|sources)$/.test(name));
  return lists.some((name) => readFileSync(join(APT_SOURCES, name), 'utf8').includes(BACKPORTS));
}

function apt(args: readonly string[]): void {
  run('apt-get', ['update', '-q']);
  run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...args]);
}

function run(command: string, args: readonly string[]): void {
  console.error(`$ ${command} ${args.join(' ')}`);
  const { status } = spawnSync(command, args, {
    // stdout belongs to the program that wants the rig: its output may be JSON.
    stdio: ['inherit', STDERR, STDERR],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    shell: process.platform === 'win32',
  });
  // What is missing in the end is reported in the end; a mirror that fails is not the last word.
  if (status !== 0) console.error(`${command} ended with ${status ?? 'a signal'}.`);
}

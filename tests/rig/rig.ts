import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { chromium } from '@playwright/test';
import { SkeinError } from '../../src/protocol/errors.ts';

/** What the tests need of the machine, as far as it is there. */
export interface Rig {
  /** A Chromium that starts. */
  readonly chromiumPath: string | null;
  /** Vulkan driver manifests (ICD) that work without a GPU; Linux only. */
  readonly vulkanDrivers: Readonly<Partial<Record<SoftwareDriver, string>>>;
}

export type SoftwareDriver = 'swiftshader' | 'lavapipe';

/** Dawn refuses older ones. */
const OLDEST_MESA_MAJOR = 23;

const CHROMIUM_PATHS = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
];

/** Where packages put Chromium's files when `chromiumPath` is only a start script. */
const CHROMIUM_FOLDERS = ['/usr/lib/chromium', '/usr/lib64/chromium-browser', '/opt/google/chrome'];
const SWIFTSHADER_MANIFEST = 'vk_swiftshader_icd.json';

const LAVAPIPE_MANIFESTS = [
  '/usr/share/vulkan/icd.d/lvp_icd.json',
  `/usr/share/vulkan/icd.d/lvp_icd.${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}.json`,
];

/** Headless WebGPU on SwiftShader, and no traffic of the browser's own. */
export const CHROMIUM_FLAGS: readonly string[] = [
  '--enable-unsafe-webgpu',
  '--enable-features=Vulkan',
  '--use-webgpu-adapter=swiftshader',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  // Chromium's sandbox refuses to run as root, which is who containers run as.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
];

/** Looks at the machine; installs nothing. @throws SkeinError `no-adapter` for a SKEIN_CHROMIUM that is not there. */
export function findRig(): Rig {
  const chromiumPath = findChromium();
  if (process.platform !== 'linux') return { chromiumPath, vulkanDrivers: {} };
  const swiftshader = findSwiftShader(chromiumPath);
  const lavapipe = findLavapipe();
  return {
    chromiumPath,
    vulkanDrivers: { ...(swiftshader !== null && { swiftshader }), ...(lavapipe !== null && { lavapipe }) },
  };
}

function findChromium(): string | null {
  const named = process.env['SKEIN_CHROMIUM'] ?? '';
  if (named === '') {
    return [...CHROMIUM_PATHS, chromium.executablePath()].find((path) => existsSync(path)) ?? null;
  }
  if (existsSync(named)) return named;
  throw new SkeinError('no-adapter', `SKEIN_CHROMIUM names ${named}, which does not exist.`);
}

function findSwiftShader(chromiumPath: string | null): string | null {
  const folders = chromiumPath === null ? [] : [dirname(realpathSync(chromiumPath))];
  const manifests = [...folders, ...CHROMIUM_FOLDERS].map((folder) => join(folder, SWIFTSHADER_MANIFEST));
  return manifests.find((path) => existsSync(path)) ?? null;
}

function findLavapipe(): string | null {
  const manifest = LAVAPIPE_MANIFESTS.find((path) => existsSync(path));
  return manifest !== undefined && debianMesaMajor() >= OLDEST_MESA_MAJOR ? manifest : null;
}

/** Where there is no dpkg to ask, the driver counts as new: Dawn itself says otherwise. */
function debianMesaMajor(): number {
  try {
    const query = ['-W', '-f', '${Version}', 'mesa-vulkan-drivers'];
    const version = execFileSync('dpkg-query', query, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return Number.parseInt(version, 10);
  } catch {
    return Infinity;
  }
}

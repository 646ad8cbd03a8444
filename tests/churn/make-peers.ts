import { existsSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname } from 'node:path';
import type { Browser } from '@playwright/test';
import { tuningFilePath } from '../../src/cli/tuning-file.ts';
import type { ChurnPeer } from './churn-peer.ts';
import { NodePeer } from './node-peer.ts';
import { TabPeer } from './tab-peer.ts';

interface Devices {
  readonly tabs: number;
  readonly nodes: number;
  /** The Vulkan driver of Node peers, where it is not the machine's own. */
  readonly vulkanDriver: string | null;
  readonly onProgress: (line: string) => void;
}

/** What is known of this machine's adapters already; the weights of the run are its own. */
export async function copyTunings(cacheFolder: string): Promise<void> {
  const { platform, env } = process;
  const known = tuningFilePath({ platform, env, home: homedir() });
  const copy = tuningFilePath({ platform, env: { ...env, XDG_CACHE_HOME: cacheFolder }, home: homedir() });
  if (copy === known || !existsSync(known)) return;
  await mkdir(dirname(copy), { recursive: true });
  await copyFile(known, copy);
}

export async function makePeers(
  { tabs, nodes, vulkanDriver, onProgress }: Devices,
  url: string,
  browser: Browser,
  cacheFolder: string,
): Promise<ChurnPeer[]> {
  const context = await browser.newContext();
  return [
    ...Array.from({ length: tabs }, (_, index) => new TabPeer(`tab ${index + 1}`, url, context)),
    ...Array.from({ length: nodes }, (_, index) => {
      return new NodePeer(`node ${index + 1}`, {
        serverUrl: url,
        cacheFolder,
        vulkanDriver,
        onWords: onProgress,
      });
    }),
  ];
}

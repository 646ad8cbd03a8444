import type { Browser } from '@playwright/test';
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

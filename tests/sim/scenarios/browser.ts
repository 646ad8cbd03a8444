import { DRAIN_TIMEOUT_MS } from '../../../src/protocol/limits.ts';
import type { DeviceClass } from '../device.ts';
import { SHARE_GPT, WILD_CHAT } from '../lengths.ts';
import type { Site } from '../network.ts';
import { READING_PACE } from '../scenario.ts';
import type { Scenario, Visit } from '../scenario.ts';
import {
  APPLE_LAPTOP,
  drawHome,
  FIVE_REGIONS,
  GAMING_LAPTOP,
  OFFICE_LAPTOP,
  PHONE,
} from './browser-devices.ts';
import { QWEN_3B_INT4, QWEN_8B_INT4 } from './models.ts';
import { drawCrowd } from './tabs.ts';

const MEGABYTE = 1e6;
const HOUSEHOLD: readonly DeviceClass[] = [
  GAMING_LAPTOP,
  APPLE_LAPTOP,
  OFFICE_LAPTOP,
  OFFICE_LAPTOP,
  PHONE,
  PHONE,
];
const WIFI: Site = {
  region: 0,
  accessSeconds: 0.001,
  uplinkBytesPerSecond: 15 * MEGABYTE,
  downlinkBytesPerSecond: 25 * MEGABYTE,
};

export const BROWSER_HOME: Scenario = {
  name: 'browser-home',
  about:
    'Six devices of a household on one Wi-Fi (a gaming laptop, an Apple laptop, two office laptops, two phones), Qwen2.5-3B in 4 bits, ShareGPT-like lengths',
  card: QWEN_3B_INT4,
  rates: [0.4, 0.8, 1.6, 3.2],
  lengths: SHARE_GPT,
  rateFactor: () => 1,
  warmUpSeconds: 300,
  rampSeconds: 60,
  windowSeconds: 600,
  drainSeconds: 3600,
  objective: READING_PACE,
  network: {
    regionRttSeconds: [[0.002]],
    jitterSeconds: 0.002,
    relayedShare: 0,
    relayRttSeconds: 0,
    relayBytesPerSecond: 15 * MEGABYTE,
    serverRegion: 0,
  },
  honesty: { measurementError: 0.2, liarShare: 0, lieFactor: 1 },
  loads: { downloadBytesPerSecond: 12 * MEGABYTE, diskBytesPerSecond: 500 * MEGABYTE, startSeconds: 3 },
  graceSeconds: DRAIN_TIMEOUT_MS / 1000,
  visits: () =>
    HOUSEHOLD.map((kind, index): Visit => ({
      kind,
      site: WIFI,
      joinsAt: 2 * index,
      leavesAt: Infinity,
      leaving: 'politely',
      returnOf: null,
      slowdowns: [],
    })),
  requesterSite: () => WIFI,
};

const PUBLIC_NETWORK = {
  regionRttSeconds: FIVE_REGIONS,
  jitterSeconds: 0.004,
  relayedShare: 0.15,
  relayRttSeconds: 0.06,
  relayBytesPerSecond: 1 * MEGABYTE,
  serverRegion: 0,
};
const PUBLIC_HONESTY = { measurementError: 0.2, liarShare: 0.05, lieFactor: 10 };
const PUBLIC_LOADS = {
  downloadBytesPerSecond: 15 * MEGABYTE,
  diskBytesPerSecond: 400 * MEGABYTE,
  startSeconds: 4,
};

export const BROWSER_PUBLIC: Scenario = {
  name: 'browser-public',
  about:
    '200 tabs in five regions that stay for ten minutes (half-life), half of them gone without a word (four fifths of these close the tab, the others lose the network), 15 % of the ways relayed, one in twenty claims ten times its speed; Qwen3-8B in 4 bits, WildChat-like lengths',
  card: QWEN_8B_INT4,
  rates: [1, 2, 4],
  lengths: WILD_CHAT,
  rateFactor: () => 1,
  warmUpSeconds: 240,
  rampSeconds: 60,
  windowSeconds: 300,
  drainSeconds: 900,
  objective: READING_PACE,
  network: PUBLIC_NETWORK,
  honesty: PUBLIC_HONESTY,
  loads: PUBLIC_LOADS,
  graceSeconds: DRAIN_TIMEOUT_MS / 1000,
  visits: (random) =>
    drawCrowd(
      {
        tabs: 200,
        gatherSeconds: 60,
        halfLifeSeconds: 600,
        endSeconds: 1500,
        politeShare: 0.5,
        vanishedShare: 0.2,
        returnShare: 0.3,
        slowdownShare: 0.1,
      },
      random,
    ),
  requesterSite: (random) => drawHome(Math.floor(random.next() * FIVE_REGIONS.length), random),
};

const CROWD_BEGINS = 120;
const CROWD_ENDS = 300;

export const FLASH_CROWD: Scenario = {
  ...BROWSER_PUBLIC,
  name: 'flash-crowd',
  about:
    'As browser-public with 60 tabs; after two minutes ten times as many ask for three minutes, and 60 more tabs come one after the other, too late for the first of them',
  rates: [0.1, 0.2, 0.4],
  rateFactor: (seconds) => (seconds >= CROWD_BEGINS && seconds < CROWD_ENDS ? 10 : 1),
  rampSeconds: 60,
  windowSeconds: 480,
  visits: (random) => [
    ...drawCrowd(
      {
        tabs: 60,
        gatherSeconds: 60,
        halfLifeSeconds: 600,
        endSeconds: 1800,
        politeShare: 0.5,
        vanishedShare: 0.2,
        returnShare: 0.3,
        slowdownShare: 0.1,
      },
      random,
    ),
    ...lateCrowd(random),
  ],
};

function lateCrowd(random: Parameters<Scenario['visits']>[0]): readonly Visit[] {
  const begins = BROWSER_PUBLIC.warmUpSeconds + CROWD_BEGINS;
  const crowd = drawCrowd(
    {
      tabs: 60,
      gatherSeconds: CROWD_ENDS - CROWD_BEGINS,
      halfLifeSeconds: 600,
      endSeconds: 0,
      politeShare: 0.5,
      vanishedShare: 0.2,
      returnShare: 0,
      slowdownShare: 0.1,
    },
    random,
  );
  return crowd.map((visit) => ({
    ...visit,
    joinsAt: visit.joinsAt + begins,
    leavesAt: visit.leavesAt + begins,
    slowdowns: [],
  }));
}

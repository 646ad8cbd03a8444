import { DRAIN_TIMEOUT_MS } from '../../../src/protocol/limits.ts';
import type { DeviceClass } from '../device.ts';
import { SHARE_GPT } from '../lengths.ts';
import type { Site } from '../network.ts';
import { READING_PACE } from '../scenario.ts';
import type { Scenario, Visit } from '../scenario.ts';
import { QWEN_72B_INT4 } from './models.ts';

const GIB = 1024 ** 3;
const GIGABIT = 125e6;

/**
 * Data sheets, and how much of them inference kernels reach: four fifths of the bandwidth, and half of the dense 16-bit
 * tensor rate (209 and 165 TFLOP/s), for 4-bit weights are unpacked on the way. Two GiB go to the driver and the program.
 */
const RTX_5090: DeviceClass = {
  name: 'NVIDIA GeForce RTX 5090',
  memoryBytes: 30 * GIB,
  bytesPerSecond: 0.8 * 1792e9,
  flopsPerSecond: 0.5 * 209e12,
  stepOverheadSeconds: 0.003,
  spread: 0.05,
};

const RTX_4090: DeviceClass = {
  name: 'NVIDIA GeForce RTX 4090',
  memoryBytes: 22 * GIB,
  bytesPerSecond: 0.8 * 1008e9,
  flopsPerSecond: 0.5 * 165e12,
  stepOverheadSeconds: 0.003,
  spread: 0.05,
};

const SITE: Site = {
  region: 0,
  accessSeconds: 0,
  uplinkBytesPerSecond: GIGABIT,
  downlinkBytesPerSecond: GIGABIT,
};

const KINDS = [RTX_5090, RTX_5090, RTX_5090, RTX_5090, RTX_5090, RTX_4090, RTX_4090];

export const PAPER: Scenario = {
  name: 'paper',
  about:
    'The cluster of the Parallax paper (arXiv 2509.26182): 5 RTX 5090 and 2 RTX 4090, 10 ms between any two, Qwen2.5-72B in 4 bits, ShareGPT-like lengths',
  card: QWEN_72B_INT4,
  rates: [4, 8, 16, 32],
  lengths: SHARE_GPT,
  rateFactor: () => 1,
  warmUpSeconds: 60,
  rampSeconds: 180,
  windowSeconds: 300,
  drainSeconds: 3600,
  objective: READING_PACE,
  network: {
    regionRttSeconds: [[0.01]],
    jitterSeconds: 0.0005,
    relayedShare: 0,
    relayRttSeconds: 0,
    relayBytesPerSecond: GIGABIT,
    serverRegion: 0,
  },
  honesty: { measurementError: 0.1, liarShare: 0, lieFactor: 1 },
  loads: { downloadBytesPerSecond: 2e9, diskBytesPerSecond: 2e9, startSeconds: 5 },
  graceSeconds: DRAIN_TIMEOUT_MS / 1000,
  visits: () =>
    KINDS.map((kind, index): Visit => ({
      kind,
      site: SITE,
      joinsAt: index,
      leavesAt: Infinity,
      leaving: 'politely',
      returnOf: null,
      slowdowns: [],
    })),
  requesterSite: () => SITE,
};

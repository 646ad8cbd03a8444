import type { DeviceClass } from '../device.ts';
import type { Site } from '../network.ts';
import type { Random } from '../random.ts';

const GIB = 1024 ** 3;
const MEGABIT = 125e3;

/**
 * What WebGPU kernels reach on such devices in a tab that lends a share of its memory: about half of the memory's bandwidth
 * and a quarter of the data sheet's arithmetic. The overhead of a step is the way through the browser's GPU process and back.
 */
export const PHONE: DeviceClass = {
  name: 'Adreno 740',
  memoryBytes: 1 * GIB,
  bytesPerSecond: 30e9,
  flopsPerSecond: 0.6e12,
  stepOverheadSeconds: 0.012,
  spread: 0.3,
};
export const OFFICE_LAPTOP: DeviceClass = {
  name: 'Intel Iris Xe Graphics',
  memoryBytes: 1.5 * GIB,
  bytesPerSecond: 30e9,
  flopsPerSecond: 0.5e12,
  stepOverheadSeconds: 0.008,
  spread: 0.2,
};
export const APPLE_LAPTOP: DeviceClass = {
  name: 'Apple M2',
  memoryBytes: 3 * GIB,
  bytesPerSecond: 70e9,
  flopsPerSecond: 1.5e12,
  stepOverheadSeconds: 0.006,
  spread: 0.2,
};
export const GAMING_LAPTOP: DeviceClass = {
  name: 'NVIDIA GeForce RTX 3060 Laptop GPU',
  memoryBytes: 3 * GIB,
  bytesPerSecond: 180e9,
  flopsPerSecond: 4e12,
  stepOverheadSeconds: 0.006,
  spread: 0.2,
};
const DESKTOP: DeviceClass = {
  name: 'NVIDIA GeForce RTX 3080',
  memoryBytes: 4 * GIB,
  bytesPerSecond: 400e9,
  flopsPerSecond: 10e12,
  stepOverheadSeconds: 0.005,
  spread: 0.15,
};

/** Who opens a page, and how often. */
const PUBLIC_MIX: readonly { readonly kind: DeviceClass; readonly weight: number }[] = [
  { kind: PHONE, weight: 0.15 },
  { kind: OFFICE_LAPTOP, weight: 0.35 },
  { kind: APPLE_LAPTOP, weight: 0.25 },
  { kind: GAMING_LAPTOP, weight: 0.15 },
  { kind: DESKTOP, weight: 0.1 },
];

export function drawPublicDevice(random: Random): DeviceClass {
  const index = random.pick(PUBLIC_MIX.map(({ weight }) => weight));
  return PUBLIC_MIX[index]?.kind ?? OFFICE_LAPTOP;
}

/** A household: fibre or cable or copper, and Wi-Fi on the last metres. */
export function drawHome(region: number, random: Random): Site {
  const [uplink, downlink] = [
    [20, 100],
    [40, 250],
    [200, 500],
  ][random.pick([0.5, 0.35, 0.15])] ?? [20, 100];
  return {
    region,
    accessSeconds: random.between(0.003, 0.012),
    uplinkBytesPerSecond: (uplink ?? 20) * MEGABIT,
    downlinkBytesPerSecond: (downlink ?? 100) * MEGABIT,
  };
}

/** Round trips between backbones, in seconds: Western Europe, US East, US West, Brazil, Japan. */
export const FIVE_REGIONS: readonly (readonly number[])[] = [
  [0.012, 0.085, 0.145, 0.19, 0.23],
  [0.085, 0.015, 0.065, 0.12, 0.16],
  [0.145, 0.065, 0.015, 0.175, 0.11],
  [0.19, 0.12, 0.175, 0.015, 0.265],
  [0.23, 0.16, 0.11, 0.265, 0.01],
];

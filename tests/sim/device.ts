import type { Capability } from '../../src/protocol/signaling.ts';
import type { Random } from './random.ts';
import type { DeviceRates } from './roofline.ts';

/** A kind of device, as it really is. */
export interface DeviceClass extends DeviceRates {
  /** What its adapter says it is. */
  readonly name: string;
  /** That it lends for weights and cache. */
  readonly memoryBytes: number;
  /** How far one differs from another, as a share: heat, drivers, other tabs. */
  readonly spread: number;
}

/** One device, and what it says of itself. */
export interface Device extends DeviceRates {
  readonly name: string;
  readonly memoryBytes: number;
  readonly claim: Capability;
}

export interface Honesty {
  /** By how much a device's own measurement may miss, up or down, as a share. */
  readonly measurementError: number;
  /** Share of devices that claim to be faster than they are, and how many times. */
  readonly liarShare: number;
  readonly lieFactor: number;
}

export function drawDevice(kind: DeviceClass, honesty: Honesty, random: Random): Device {
  const speed = 1 + random.between(-kind.spread, kind.spread);
  const bytesPerSecond = kind.bytesPerSecond * speed;
  const flopsPerSecond = kind.flopsPerSecond * speed;
  const isLiar = random.next() < honesty.liarShare;
  const error = () => 1 + random.between(-honesty.measurementError, honesty.measurementError);
  const lie = isLiar ? honesty.lieFactor : 1;
  return {
    name: kind.name,
    memoryBytes: kind.memoryBytes,
    bytesPerSecond,
    flopsPerSecond,
    stepOverheadSeconds: kind.stepOverheadSeconds,
    claim: {
      memoryBytes: kind.memoryBytes,
      matvecBytesPerSecond: bytesPerSecond * error() * lie,
      matmulFlopsPerSecond: flopsPerSecond * error() * lie,
      adapter: kind.name,
    },
  };
}

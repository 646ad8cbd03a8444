/** What may make this device slow, or end it, soon. */
export interface DeviceHints {
  /** Whether nobody sees the page: browsers slow its timers down, though not its worker. */
  readonly isHidden: boolean;
  /** Null where there is none, or the browser does not tell. */
  readonly battery: BatteryLevel | null;
}

export interface BatteryLevel {
  /** 0 to 1. */
  readonly charge: number;
  readonly isCharging: boolean;
}

/** Where the hints come from. */
export interface HintSource {
  readonly hints: DeviceHints;
  /** Called on every change. @returns a function that stops listening. */
  subscribe(listener: (hints: DeviceHints) => void): () => void;
}

/** A device with less than this and no charger needs the rest for its owner. */
export const LOW_BATTERY_CHARGE = 0.15;

export const NO_HINTS: HintSource = {
  hints: { isHidden: false, battery: null },
  subscribe: () => () => undefined,
};

export function isBatteryLow({ battery }: DeviceHints): boolean {
  return battery !== null && !battery.isCharging && battery.charge <= LOW_BATTERY_CHARGE;
}

/** As reports carry them. */
export function reportedHints({ isHidden, battery }: DeviceHints): {
  isHidden: boolean;
  isOnBattery: boolean;
} {
  return { isHidden, isOnBattery: battery !== null && !battery.isCharging };
}

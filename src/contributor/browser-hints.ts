import type { DeviceHints, HintSource } from './device-hints.ts';
import { Observable } from '../mesh/observable.ts';

/** https://w3c.github.io/battery; of today's browsers only those on Chromium have it. */
interface BatteryManager extends EventTarget {
  readonly charging: boolean;
  /** 0 to 1. */
  readonly level: number;
}

/** The part of a page that tells; `document` and `navigator` have it. */
export interface HintEnvironment {
  readonly document: EventTarget & { readonly visibilityState: string };
  readonly navigator: object;
}

/** What the browser tells of this page and its device, as it changes. */
export function browserHints(environment: HintEnvironment = { document, navigator }): HintSource {
  const source = new Observable<DeviceHints>({
    isHidden: environment.document.visibilityState === 'hidden',
    battery: null,
  });
  environment.document.addEventListener('visibilitychange', () => {
    const isHidden = environment.document.visibilityState === 'hidden';
    source.value = { ...source.value, isHidden };
  });
  void batteryOf(environment.navigator).then((battery) => {
    if (battery === null) return;
    const note = () => {
      source.value = {
        ...source.value,
        battery: { charge: battery.level, isCharging: battery.charging },
      };
    };
    for (const type of ['chargingchange', 'levelchange']) battery.addEventListener(type, note);
    note();
  });
  return {
    get hints() {
      return source.value;
    },
    subscribe: (listener) => source.subscribe(listener),
  };
}

/** Null where the browser has no such thing or keeps it to itself. A device without a battery counts as charging. */
async function batteryOf(navigator: {
  readonly getBattery?: () => Promise<BatteryManager>;
}): Promise<BatteryManager | null> {
  try {
    return (await navigator.getBattery?.()) ?? null;
  } catch {
    return null;
  }
}

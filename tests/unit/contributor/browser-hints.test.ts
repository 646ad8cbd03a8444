import { describe, expect, it } from 'vitest';
import { browserHints } from '../../../src/contributor/browser-hints.ts';
import { isBatteryLow, LOW_BATTERY_CHARGE } from '../../../src/contributor/device-hints.ts';
import type { DeviceHints } from '../../../src/contributor/device-hints.ts';
import { settled } from './fakes.ts';

class FakeDocument extends EventTarget {
  visibilityState = 'visible';

  show(visibilityState: string): void {
    this.visibilityState = visibilityState;
    this.dispatchEvent(new Event('visibilitychange'));
  }
}

class FakeBattery extends EventTarget {
  level = 0.5;
  charging = false;

  change(level: number, charging: boolean): void {
    const types = [
      ...(level === this.level ? [] : ['levelchange']),
      ...(charging === this.charging ? [] : ['chargingchange']),
    ];
    Object.assign(this, { level, charging });
    for (const type of types) this.dispatchEvent(new Event(type));
  }
}

describe('what a browser tells', () => {
  it('is whether the page is seen, and every change of that', () => {
    const document = new FakeDocument();
    document.visibilityState = 'hidden';
    const source = browserHints({ document, navigator: {} });
    expect(source.hints).toEqual({ isHidden: true, battery: null });
    const heard: DeviceHints[] = [];
    source.subscribe((hints) => heard.push(hints));
    document.show('visible');
    document.show('hidden');
    expect(heard.map(({ isHidden }) => isHidden)).toEqual([false, true]);
  });

  it('is the battery, as soon as it is known, and every change of it', async () => {
    const battery = new FakeBattery();
    const source = browserHints({
      document: new FakeDocument(),
      navigator: { getBattery: () => Promise.resolve(battery) },
    });
    const heard: DeviceHints[] = [];
    source.subscribe((hints) => heard.push(hints));
    await settled();
    battery.change(0.4, false);
    battery.change(0.4, true);
    expect(heard.map((hints) => hints.battery)).toEqual([
      { charge: 0.5, isCharging: false },
      { charge: 0.4, isCharging: false },
      { charge: 0.4, isCharging: true },
    ]);
  });

  it.each([
    ['has no such thing', {}],
    ['keeps it to itself', { getBattery: () => Promise.reject(new Error('denied')) }],
  ])('is no battery where it %s', async (_what, navigator) => {
    const source = browserHints({ document: new FakeDocument(), navigator });
    await settled();
    expect(source.hints).toEqual({ isHidden: false, battery: null });
  });
});

describe('a low battery', () => {
  const charged = (charge: number, isCharging = false) => ({
    isHidden: false,
    battery: { charge, isCharging },
  });

  it('is one without a charger and without much left', () => {
    expect(isBatteryLow(charged(LOW_BATTERY_CHARGE))).toBe(true);
    expect(isBatteryLow(charged(LOW_BATTERY_CHARGE + 0.01))).toBe(false);
    expect(isBatteryLow(charged(0, true))).toBe(false);
    expect(isBatteryLow({ isHidden: true, battery: null })).toBe(false);
  });
});

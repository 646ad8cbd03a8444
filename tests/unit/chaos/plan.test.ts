import { describe, expect, it } from 'vitest';
import { FAULT_KINDS, faultsWithin, faultWords } from '../../chaos/plan.ts';
import type { PlanOptions } from '../../chaos/plan.ts';

const OPTIONS: PlanOptions = { seed: 7, nodes: 4, tabs: 2, intervalMs: 3_000 };
const TEN_MINUTES_MS = 600_000;

const faults = (options: Partial<PlanOptions> = {}) =>
  faultsWithin({ ...OPTIONS, ...options }, TEN_MINUTES_MS).map(({ fault }) => fault);

describe('a plan of faults', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(faultsWithin(OPTIONS, TEN_MINUTES_MS)).toEqual(faultsWithin(OPTIONS, TEN_MINUTES_MS));
    expect(faultsWithin({ ...OPTIONS, seed: 8 }, TEN_MINUTES_MS)).not.toEqual(
      faultsWithin(OPTIONS, TEN_MINUTES_MS),
    );
  });

  it('begins the same however long it goes on', () => {
    const short = faultsWithin(OPTIONS, TEN_MINUTES_MS / 10);
    expect(short.length).toBeGreaterThan(5);
    expect(faultsWithin(OPTIONS, TEN_MINUTES_MS).slice(0, short.length)).toEqual(short);
  });

  it('has a fault every interval, and at most every other', () => {
    const planned = faultsWithin(OPTIONS, TEN_MINUTES_MS);
    for (const { afterMs } of planned) {
      expect(afterMs).toBeGreaterThanOrEqual(OPTIONS.intervalMs);
      expect(afterMs).toBeLessThanOrEqual(2 * OPTIONS.intervalMs);
    }
    expect(planned.length).toBeGreaterThanOrEqual(TEN_MINUTES_MS / (2 * OPTIONS.intervalMs) - 1);
  });

  it('has every kind within its first thirteen, for every seed', () => {
    for (let seed = 0; seed < 50; seed++) {
      const kinds = new Set(
        faults({ seed })
          .slice(0, 13)
          .map(({ kind }) => kind),
      );
      expect([...kinds].sort()).toEqual([...FAULT_KINDS].sort());
    }
  });

  it('spares the first peer kills and leaves, and harms all others so', () => {
    const ended = faults().flatMap((fault) =>
      fault.kind === 'kill' || fault.kind === 'leave' ? [fault.peer] : [],
    );
    expect(new Set(ended)).toEqual(new Set([1, 2, 3, 4, 5]));
  });

  it('does to tabs only what can be done to them', () => {
    const toTabs = faults().filter((fault) => 'peer' in fault && fault.peer >= OPTIONS.nodes);
    expect(new Set(toTabs.map(({ kind }) => kind))).toEqual(new Set(['kill', 'leave']));
    expect(faults({ tabs: 0 }).every((fault) => !('peer' in fault) || fault.peer < OPTIONS.nodes)).toBe(true);
  });

  it('says each fault in other words', () => {
    const words = new Set(faults().slice(0, 13).map(faultWords));
    expect(words.size).toBe(13);
  });
});

import { beforeAll, describe, expect, it } from 'vitest';
import { chooseInt8Tuning, chooseTuning, tuningCandidates } from '../../src/engine/choose-tuning.ts';
import type { TuningStore } from '../../src/engine/choose-tuning.ts';
import { KernelCompiler } from '../../src/engine/kernel.ts';
import { tuningOf } from '../../src/engine/tuning.ts';
import type { Tuning } from '../../src/engine/tuning.ts';
import { openTestGpu } from './gpu.ts';
import type { TestGpu } from './gpu.ts';

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

class MemoryStore implements TuningStore {
  readonly saved: [key: string, tuning: Tuning][] = [];

  constructor(readonly kept: (key: string) => unknown = () => undefined) {}

  load(key: string): Promise<unknown> {
    return Promise.resolve(this.kept(key));
  }

  save(key: string, tuning: Tuning): Promise<void> {
    this.saved.push([key, tuning]);
    return Promise.resolve();
  }
}

describe('the tuning of an adapter', () => {
  it('is one of the candidates, measured once and kept under its name', async () => {
    const store = new MemoryStore();
    const candidates = tuningCandidates(tuningOf(gpu.device));
    expect(candidates.length).toBeGreaterThan(1);
    const chosen = await chooseTuning(gpu.engine, store);
    expect(candidates).toContainEqual(chosen);
    expect(store.saved).toHaveLength(1);
    expect(store.saved[0]?.[0]).toContain(gpu.engine.adapterName);
    expect(store.saved[0]?.[1]).toEqual(chosen);
  });

  it('is what was kept, whatever a measurement would say', async () => {
    for (const candidate of tuningCandidates(tuningOf(gpu.device))) {
      const store = new MemoryStore(() => ({ ...candidate }));
      expect(await chooseTuning(gpu.engine, store)).toEqual(candidate);
      expect(store.saved).toEqual([]);
    }
  });

  it.each([
    ['nonsense', 'fast'],
    [
      'a tuning with a field of another type',
      { subgroupSize: '4', isSoftware: true, usesSubgroups: true, usesF16: false, usesPackedDot: false },
    ],
    [
      'a layout that is no candidate here',
      { subgroupSize: 4096, isSoftware: false, usesSubgroups: true, usesF16: false, usesPackedDot: false },
    ],
  ])('is measured where the store holds %s', async (_name, kept) => {
    const store = new MemoryStore(() => kept);
    expect(tuningCandidates(tuningOf(gpu.device))).toContainEqual(await chooseTuning(gpu.engine, store));
    expect(store.saved).toHaveLength(1);
  });

  it('says how int8 products are made, measured once and kept beside the layout, which stays', async () => {
    const { tuning } = KernelCompiler.of(gpu.device);
    const store = new MemoryStore();
    const chosen = await chooseInt8Tuning(gpu.engine, store);
    expect({ ...chosen, usesPackedDot: tuning.usesPackedDot }).toEqual(tuning);
    expect(store.saved).toEqual([[expect.stringContaining(gpu.engine.adapterName), chosen]]);
    for (const usesPackedDot of [true, false]) {
      const keys: string[] = [];
      const kept = new MemoryStore((key) => {
        keys.push(key);
        return { ...tuning, usesPackedDot };
      });
      expect(await chooseInt8Tuning(gpu.engine, kept)).toEqual({ ...tuning, usesPackedDot });
      expect(kept.saved).toEqual([]);
      await chooseTuning(gpu.engine, kept);
      expect(new Set(keys).size).toBe(2);
    }
  });

  it('never asks for what the device does not have', () => {
    for (const isSoftware of [true, false]) {
      const candidates = tuningCandidates({
        subgroupSize: 32,
        isSoftware,
        usesSubgroups: false,
        usesF16: false,
        usesPackedDot: false,
      });
      expect(candidates.every(({ usesSubgroups, usesF16 }) => !usesSubgroups && !usesF16)).toBe(true);
      expect(candidates.every((candidate) => candidate.isSoftware === isSoftware)).toBe(true);
    }
  });
});

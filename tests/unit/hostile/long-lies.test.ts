import { describe, expect, it } from 'vitest';
import { HostileMesh, LIAR } from '../../hostile/hostile-mesh.ts';
import { LIES } from '../../hostile/lies.ts';
import { notTo } from '../../hostile/meddling.ts';

const PROMPT = Array.from({ length: 40 }, (_, index) => index * 11);
const TOKENS = 24;
const PATIENT_SECONDS = 30;
const UNDISTURBED_SECONDS = 3;

describe('a hop that has forgotten what it offers', () => {
  it.each([1, 2])('as hop %i: is found, and nobody gets wrong tokens', async (slot) => {
    const mesh = new HostileMesh({ slot, meddle: LIES['offers what it does not have'] });
    await mesh.finish([mesh.generate(PROMPT, TOKENS)]);
    mesh.liar.machine.cache.clear();
    const [outcome] = await mesh.finish([mesh.generate(PROMPT, TOKENS)]);
    expect(outcome?.error).toBeNull();
    expect(outcome?.result?.tokenIds).toEqual(outcome?.expected);
    expect(mesh.suspects).toEqual([LIAR]);
  });
});

describe('a next hop that never reads', () => {
  it('keeps nobody waiting whose route does not lead over it, and the others not for long', async () => {
    const mesh = new HostileMesh({
      slot: 2,
      meddle: () => ({}),
      givenTo: [0],
      wrap: (transport) => notTo(transport, LIAR),
    });
    const outcomes = await mesh.finish([0, 1, 2].map((index) => mesh.generate(PROMPT, TOKENS, index)));
    for (const { error, result, expected } of outcomes) {
      expect(error).toBeNull();
      expect(result?.tokenIds).toEqual(expected);
    }
    const [over, ...others] = outcomes.map(({ seconds }) => seconds);
    expect(over).toBeLessThan(PATIENT_SECONDS);
    expect(Math.max(...others)).toBeLessThan(UNDISTURBED_SECONDS);
    // A hop that cannot send on looks like one that does not compute, until it says whom it waits for.
    expect(mesh.suspects).toContain(LIAR);
  });
});

describe('a hop that says that it computes on and on', () => {
  it.each([1, 2])('as hop %i', async (slot) => {
    const mesh = new HostileMesh({ slot, meddle: LIES['says that it computes on and on'] });
    const [outcome] = await mesh.finish([mesh.generate(PROMPT, TOKENS)]);
    expect(outcome?.error).toBeNull();
    expect(outcome?.result?.tokenIds).toEqual(outcome?.expected);
    expect(outcome?.seconds).toBeLessThan(700);
    expect(mesh.suspects).toContain(LIAR);
  });
});

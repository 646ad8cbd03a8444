import { describe, expect, it } from 'vitest';
import { HostileMesh, LIAR } from '../../hostile/hostile-mesh.ts';
import { Hoarder } from '../../hostile/hoarder.ts';
import { LIES, NUISANCES } from '../../hostile/lies.ts';

const PROMPT = Array.from({ length: 40 }, (_, index) => index * 11);
const OTHER_PROMPT = [3, 1, 4, 1, 5, 9, 2, 6];
const TOKENS = 24;
/** Virtual; nobody waits for it. */
const PATIENT_SECONDS = 30;
const ON_AND_ON = 'says that it computes on and on';
/** Long, because an honest stage under load may say the same for long. */
const GULLIBLE_SECONDS = 200;
const TEST_TIMEOUT_MS = 60_000;

/** Whoever samples sends no rows, and nobody before the last hop sends anything else. */
const SLOTS: Partial<Record<keyof typeof LIES, readonly number[]>> = {
  'sends rows of a width of its own': [0, 1],
  'leaves rows out': [0, 1],
  'offers what it does not have': [0],
  'says that it computes on and on': [0],
};
/** With one, whoever is excluded beside the liar leaves no route. */
const COPIES = [2, 1];
const cases = (Object.keys(LIES) as (keyof typeof LIES)[]).flatMap((name) =>
  (SLOTS[name] ?? [0, 1, 2]).flatMap((slot) => COPIES.map((replicas) => [name, slot, replicas] as const)),
);

describe('a hop that', { timeout: TEST_TIMEOUT_MS }, () => {
  it.each(cases)(
    '%s, as hop %i beside %i honest ones of each slice: answers are right all the same',
    async (name, slot, replicas) => {
      const mesh = new HostileMesh({ slot, meddle: LIES[name], replicas });
      const all = [mesh.generate(PROMPT, TOKENS, 0), mesh.generate(OTHER_PROMPT, TOKENS, 1)];
      const outcomes = await mesh.finish(all);
      for (const { result, error, expected, seconds, routes } of outcomes) {
        expect(error).toBeNull();
        expect(result?.tokenIds).toEqual(expected);
        expect(seconds).toBeLessThan(name === ON_AND_ON ? GULLIBLE_SECONDS : PATIENT_SECONDS);
        // A short prompt is agreed about with nobody, so there is no lie about it.
        if (name !== 'offers what it does not have' || expected === outcomes[0]?.expected) {
          expect(routes.at(-1)?.hops.map(({ peer }) => peer)).not.toContain(LIAR);
        }
      }
      expect(mesh.suspects).toContain(LIAR);
      mesh.hub.remove(LIAR);
      await mesh.pass(600_000);
      expect(mesh.openRequests).toBe(0);
    },
  );
});

describe('a hop that does its work and', { timeout: TEST_TIMEOUT_MS }, () => {
  const nuisances = Object.keys(NUISANCES) as (keyof typeof NUISANCES)[];
  it.each(nuisances)('%s: answers are right', async (name) => {
    const mesh = new HostileMesh({ slot: 1, meddle: NUISANCES[name] });
    const outcomes = await mesh.finish([
      mesh.generate(PROMPT, TOKENS, 0),
      mesh.generate(OTHER_PROMPT, TOKENS, 1),
    ]);
    for (const { result, error, expected } of outcomes) {
      expect(error).toBeNull();
      expect(result?.tokenIds).toEqual(expected);
    }
    for (const { served } of mesh.honest) expect(served.activeRequests).toBe(0);
  });
});

describe('a requester that opens and never feeds', () => {
  it('does not keep the places of a stage from others', async () => {
    const mesh = new HostileMesh({ slot: 1, meddle: () => ({}), maxRequests: 16 });
    const hoarder = new Hoarder(mesh);
    await hoarder.openAll(200);
    const [outcome] = await mesh.finish([mesh.generate(PROMPT, TOKENS)]);
    expect(outcome?.result?.tokenIds).toEqual(outcome?.expected);
    expect(outcome?.seconds).toBeLessThan(PATIENT_SECONDS);
  });
});

import { describe, expect, it } from 'vitest';
import { BLOCK_TOKENS } from '../../../src/protocol/stage.ts';
import { expectedTokens } from './adding-machine.ts';
import { Asker } from './asker.ts';
import { settled } from './local-mesh.ts';
import { replicasOfAddingMachines } from './replica-mesh.ts';
import type { ReplicaMesh } from './replica-mesh.ts';

const SLICES = 3;
const CHUNK_ROWS = 20;
const PROMPT = Array.from({ length: 130 }, (_, index) => (index * index * 7 + index) % 1000);
const MAX_TOKENS = 40;
/** Rows that go into the machines: the last token is sampled and never fed. */
const ALL_ROWS = PROMPT.length + MAX_TOKENS - 1;
/**
 * What a survivor computes again at most: the block in which the route was cut, and what was computed in the pass before the requester
 * knew of it.
 */
const AGAIN = BLOCK_TOKENS + CHUNK_ROWS;
/** So many rows are computed when the stage dies. */
const MOMENTS = { 'early in prefill': 30, 'late in prefill': 110, 'in decode': PROMPT.length + 20 } as const;
const NOTHING = { sequences: 0, timers: 0, journalBytes: 0, rejected: 0 };

const answerTo = (mesh: ReplicaMesh, prompt = PROMPT) => expectedTokens(prompt, mesh.layerCount, MAX_TOKENS);

const cases = Object.entries(MOMENTS).flatMap(([moment, rows]) =>
  ['first', 'middle', 'last'].map((who, slice) => [who, moment, slice, rows] as const),
);

describe('a stage that dies', () => {
  it.each(cases)('as the %s, %s: others go on with what they have', async (_who, _moment, slice, rows) => {
    const mesh = replicasOfAddingMachines({ slices: SLICES, replicas: 2, chunkRows: CHUNK_ROWS });
    mesh.killAtRows(mesh.at(slice), rows);
    const asker = new Asker(mesh, PROMPT, MAX_TOKENS, 1);
    expect(await asker.answer()).toEqual(answerTo(mesh));
    expect(asker.starts).toHaveLength(2);
    mesh.rowsComputed().forEach((computed, each) => {
      expect(computed).toBeGreaterThanOrEqual(ALL_ROWS);
      expect(computed).toBeLessThanOrEqual(ALL_ROWS + (each === slice ? 0 : AGAIN));
    });
    // Only the hop before the new one had anything to send again, and sent all of it.
    const replayed = mesh.route().map((_, each) => mesh.at(each, each === slice ? 1 : 0).served.counters);
    replayed.forEach(({ replayedRows }, each) => {
      if (each === slice - 1) expect(replayedRows).toBeGreaterThanOrEqual(rows - AGAIN);
      else expect(replayedRows).toBe(0);
    });
    expect(await mesh.leftovers()).toEqual(NOTHING);
  });

  it.each(cases)(
    'as the %s, %s: without journals more is computed, and the same',
    async (_who, _moment, slice, rows) => {
      const mesh = replicasOfAddingMachines({
        slices: SLICES,
        replicas: 2,
        chunkRows: CHUNK_ROWS,
        maxJournalBytes: 0,
      });
      mesh.killAtRows(mesh.at(slice), rows);
      const asker = new Asker(mesh, PROMPT, MAX_TOKENS, 1);
      expect(await asker.answer()).toEqual(answerTo(mesh));
      mesh.rowsComputed().forEach((computed, each) => {
        // What comes before the new hop begins anew with it; what comes behind it has what it has.
        if (each < slice) expect(computed).toBeGreaterThanOrEqual(ALL_ROWS + rows - AGAIN);
        else expect(computed).toBeLessThanOrEqual(ALL_ROWS + AGAIN);
      });
      expect(await mesh.leftovers()).toEqual(NOTHING);
    },
  );

  it.each(cases)('as the %s, %s: with a prompt that all had in part', async (_who, _moment, slice, rows) => {
    const mesh = replicasOfAddingMachines({ slices: SLICES, replicas: 2, chunkRows: CHUNK_ROWS });
    const before = [...PROMPT.slice(0, 70), 1, 2, 3];
    expect(await new Asker(mesh, before, MAX_TOKENS, 1).answer()).toEqual(answerTo(mesh, before));
    const rowsBefore = mesh.rowsComputed();
    mesh.killAtRows(mesh.at(slice), (rowsBefore[slice] ?? 0) + Math.max(20, rows - 64));
    const asker = new Asker(mesh, PROMPT, MAX_TOKENS, 2);
    expect(await asker.answer()).toEqual(answerTo(mesh));
    expect(asker.starts[0]).toEqual([64, 64, 64]);
    mesh.rowsComputed().forEach((computed, each) => {
      const own = computed - (each === slice ? 0 : (rowsBefore[each] ?? 0));
      // What the caches had was never sent: who comes before the new hop has to compute all of it for that one.
      if (each <= slice) expect(own).toBeLessThanOrEqual(2 * ALL_ROWS);
      else expect(own).toBeLessThanOrEqual(ALL_ROWS - 64 + AGAIN);
    });
    expect(await mesh.leftovers()).toEqual(NOTHING);
  });

  it.each(cases)(
    'as the %s, %s: the next question finds what the new way computed',
    async (_who, _moment, slice, rows) => {
      const mesh = replicasOfAddingMachines({ slices: SLICES, replicas: 2, chunkRows: CHUNK_ROWS });
      mesh.killAtRows(mesh.at(slice), rows);
      const asker = await run(new Asker(mesh, PROMPT, MAX_TOKENS, 1));
      const { tokens } = asker;
      for (const [each, { peer }] of mesh.route().entries()) {
        const { machine } = mesh.at(each, each === slice ? 1 : 0);
        const scopes = new Set([...machine.cache.keys()].map((key) => key.slice(0, 32)));
        expect({ peer, others: [...scopes].filter((scope) => !asker.scopes.has(scope)) }).toEqual({
          peer,
          others: [],
        });
      }
      const dialogue = [...PROMPT, ...tokens, 4, 5, 6];
      const next = new Asker(mesh, dialogue, MAX_TOKENS, 2);
      expect(await next.answer()).toEqual(answerTo(mesh, dialogue));
      // Hops behind the new one kept what they had for that request alone; those before it, and the new one itself, share it.
      const whole = Math.floor(ALL_ROWS / BLOCK_TOKENS) * BLOCK_TOKENS;
      const offered = next.offers[0]?.map(({ cachedTokens }) => cachedTokens);
      expect(offered).toEqual([0, 1, 2].map((each) => (each <= slice ? whole : 0)));
      expect(await mesh.leftovers()).toEqual(NOTHING);
    },
  );

  it('twice and thrice in one answer, each time another', async () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 1],
      [0, 0, 2],
      [2, 0, 1, 0],
    ]) {
      const mesh = replicasOfAddingMachines({ slices: SLICES, replicas: 4, chunkRows: CHUNK_ROWS });
      const asker = new Asker(mesh, PROMPT, MAX_TOKENS, 1);
      const next = [0, 0, 0];
      order.forEach((slice, index) => {
        const replica = mesh.at(slice, next[slice]);
        next[slice] = (next[slice] ?? 0) + 1;
        // A replacement computes from 0 on, and dies a little later than the one before.
        mesh.killAtRows(replica, 60 + 25 * index);
      });
      expect(await asker.answer()).toEqual(answerTo(mesh));
      expect(mesh.dead.size).toBe(order.length);
      expect(await mesh.leftovers()).toEqual(NOTHING);
    }
  });

  it.each(['first', 'middle', 'last'])('as the %s, with several answers under way', async (_who) => {
    const slice = ['first', 'middle', 'last'].indexOf(_who);
    const mesh = replicasOfAddingMachines({ slices: SLICES, replicas: 2, chunkRows: CHUNK_ROWS });
    const prompts = [PROMPT, PROMPT.slice(10, 90), PROMPT.slice(50)];
    mesh.killAtRows(mesh.at(slice), 250);
    const askers = prompts.map((prompt, index) => new Asker(mesh, prompt, MAX_TOKENS, index));
    const answers = await Promise.all(askers.map((asker) => asker.answer()));
    expect(answers).toEqual(prompts.map((prompt) => answerTo(mesh, prompt)));
    const rows = prompts.reduce((sum, { length }) => sum + length + MAX_TOKENS - 1, 0);
    mesh.rowsComputed().forEach((computed, each) => {
      expect(computed).toBeLessThanOrEqual(rows + (each === slice ? 0 : prompts.length * AGAIN));
    });
    expect(await mesh.leftovers()).toEqual(NOTHING);
  });

  it('is doubted: nobody goes on with what came of it', async () => {
    const mesh = replicasOfAddingMachines({ slices: SLICES, replicas: 2, chunkRows: CHUNK_ROWS });
    const asker = new Asker(mesh, PROMPT, MAX_TOKENS, 1);
    asker.keepsCache = false;
    mesh.killAtRows(mesh.at(1), PROMPT.length + 20);
    expect(await asker.answer()).toEqual(answerTo(mesh));
    expect(asker.offers[1]?.map(({ cachedTokens }) => cachedTokens > 0)).toEqual([true, false, false]);
    expect(await mesh.leftovers()).toEqual(NOTHING);
  });
});

describe('a hop that lied before it died', () => {
  /** The middle hop adds to every value from some row on. */
  function lying(): ReplicaMesh {
    const mesh = replicasOfAddingMachines({ slices: SLICES, replicas: 2, chunkRows: CHUNK_ROWS });
    const liar = mesh.at(1);
    liar.machine.tamper = (outputs) => {
      if (liar.machine.rowsComputed >= PROMPT.length + 10) {
        mesh.kill(liar);
        return [];
      }
      return outputs.map((output) =>
        output.kind === 'activations'
          ? { ...output, values: output.values.map((value) => value + 1) }
          : output,
      );
    };
    return mesh;
  }

  it('leaves nothing that is found without it: not by others, and not by the request if it is doubted', async () => {
    const mesh = lying();
    const asker = new Asker(mesh, PROMPT, MAX_TOKENS, 1);
    await run(asker);
    // Nobody doubted it, so this one request goes on with what came of it, right or wrong.
    expect(asker.offers[1]?.[2]?.cachedTokens).toBeGreaterThan(100);
    const other = new Asker(mesh, PROMPT, MAX_TOKENS, 2);
    expect(await other.answer()).toEqual(answerTo(mesh));
    expect(other.offers[0]?.[2]?.cachedTokens).toBe(0);
    expect(await mesh.leftovers()).toEqual(NOTHING);
  });

  it('spoils no token that comes after it was found out', async () => {
    const mesh = lying();
    const asker = new Asker(mesh, PROMPT, MAX_TOKENS, 1);
    asker.keepsCache = false;
    await run(asker);
    const spoilt = asker.spoilt;
    expect(spoilt).toBeGreaterThan(0);
    const truth = expectedTokens(
      [...PROMPT, ...asker.tokens.slice(0, spoilt)],
      mesh.layerCount,
      MAX_TOKENS - spoilt,
    );
    expect(asker.tokens.slice(spoilt)).toEqual(truth);
  });
});

describe('a hop that is not part of the new route', () => {
  it('is let go by the one before it, and leaves those behind it alone', async () => {
    const mesh = replicasOfAddingMachines({ slices: SLICES, replicas: 2, chunkRows: CHUNK_ROWS });
    const asker = new Asker(mesh, PROMPT, MAX_TOKENS, 1);
    const middle = mesh.at(1);
    let isMoved = false;
    mesh.at(2).machine.tamper = (outputs) => {
      if (!isMoved && mesh.at(2).machine.rowsComputed > PROMPT.length + 10) {
        isMoved = true;
        // It lives, and nobody but the requester thinks otherwise.
        mesh.avoided.add(middle.hop.peer);
        asker.reroute();
      }
      return outputs;
    };
    expect(await asker.answer()).toEqual(answerTo(mesh));
    expect([middle.machine.sequences.size, middle.served.activeRequests]).toEqual([0, 0]);
    expect(mesh.at(0).machine.rowsComputed).toBeLessThanOrEqual(ALL_ROWS + AGAIN);
    expect(mesh.at(2).machine.rowsComputed).toBeLessThanOrEqual(ALL_ROWS + AGAIN);
  });

  it('as the first, is let go by the requester', async () => {
    const mesh = replicasOfAddingMachines({ slices: SLICES, replicas: 2, chunkRows: CHUNK_ROWS });
    const asker = new Asker(mesh, PROMPT, MAX_TOKENS, 1);
    let isMoved = false;
    mesh.at(2).machine.tamper = (outputs) => {
      if (!isMoved && mesh.at(2).machine.rowsComputed > PROMPT.length + 10) {
        isMoved = true;
        mesh.avoided.add(mesh.at(0).hop.peer);
        asker.reroute();
      }
      return outputs;
    };
    expect(await asker.answer()).toEqual(answerTo(mesh));
    expect(mesh.at(0).machine.sequences.size).toBe(0);
    for (const slice of [1, 2])
      expect(mesh.at(slice).machine.rowsComputed).toBeLessThanOrEqual(ALL_ROWS + AGAIN);
    expect(await mesh.leftovers()).toEqual(NOTHING);
  });
});

async function run(asker: Asker): Promise<Asker> {
  await asker.answer();
  await settled();
  return asker;
}

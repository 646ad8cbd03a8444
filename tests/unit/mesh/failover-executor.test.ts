import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Executor } from '../../../src/engine/executor.ts';
import { expectedAnswer, RecordingSlice } from '../engine/recording-slice.ts';
import { Asker } from './asker.ts';
import { settled } from './local-mesh.ts';
import { ReplicaMesh } from './replica-mesh.ts';
import type { Machine } from './replica-mesh.ts';

/** For a machine that does many other things at the same time. */
const PROPERTY_TIMEOUT_MS = 60_000;
const REPLICAS = 3;

/** A real executor over a cache that is really read and written. */
class RecordingMachine extends Executor implements Machine {
  constructor(private readonly slice: RecordingSlice) {
    super(slice, { prefillChunkRows: 16, idleHoldMs: 0 });
  }

  get rowsComputed(): number {
    return this.stats.rowsComputed;
  }

  get openSequences(): number {
    return this.stats.activeSequences;
  }

  whenComputed(rows: number, run: () => void): void {
    this.slice.gate = () => {
      if (this.rowsComputed >= rows) run();
      return Promise.resolve();
    };
  }
}

const text = (seed: number, length: number) =>
  Array.from({ length }, (_, index) => (seed * 997 + index * index * 13 + index) % 2000);

describe('executors on routes that break', () => {
  it('answer as if nothing had happened, and keep nothing', { timeout: PROPERTY_TIMEOUT_MS }, async () => {
    const kill = fc.record({
      slice: fc.nat(2),
      replica: fc.nat(REPLICAS - 2),
      rows: fc.integer({ min: 1, max: 160 }),
    });
    const question = fc.record({
      // Prompts share the beginning of one of two texts.
      seed: fc.integer({ min: 1, max: 2 }),
      length: fc.integer({ min: 1, max: 90 }),
      maxTokens: fc.integer({ min: 1, max: 20 }),
    });
    let replayed = 0;
    let reused = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom(9, 16, 64),
        fc.constantFrom(0, 3000, 1e6),
        fc.array(question, { minLength: 1, maxLength: 4 }),
        fc.array(kill, { maxLength: 4 }),
        async (slices, blockCount, maxJournalBytes, questions, kills) => {
          const machines: RecordingMachine[] = [];
          const mesh = new ReplicaMesh({ slices, replicas: REPLICAS, maxJournalBytes }, ({ layerStart }) => {
            const slice = new RecordingSlice(blockCount, {
              hasEmbedding: layerStart === 0,
              hasHead: layerStart === slices * 2 - 2,
            });
            const machine = new RecordingMachine(slice);
            machines.push(machine);
            return machine;
          });
          for (const { slice, replica, rows } of kills) {
            mesh.killAtRows(mesh.at(slice % slices, replica), rows);
          }
          const askers = questions.map(({ seed, length, maxTokens }, index) => {
            return new Asker(mesh, text(seed, length), maxTokens, index);
          });
          const answers = await Promise.all(askers.map((asker) => asker.answer()));
          const truths = questions.map(({ seed, length, maxTokens }) => {
            return expectedAnswer(text(seed, length), maxTokens, slices);
          });
          expect(answers).toEqual(truths);
          expect(await mesh.leftovers()).toMatchObject({ sequences: 0, journalBytes: 0, rejected: 0 });
          await settled();
          machines.forEach((machine, index) => {
            const isDead = mesh.dead.has(mesh.at(Math.floor(index / REPLICAS), index % REPLICAS).hop.peer);
            if (!isDead) expect(machine.stats.freeBlocks).toBe(blockCount);
          });
          for (let slice = 0; slice < slices; slice += 1) {
            for (let replica = 0; replica < REPLICAS; replica += 1) {
              replayed += mesh.at(slice, replica).served.counters.replayedRows;
            }
          }
          for (const asker of askers) {
            reused += asker.starts
              .slice(1)
              .flat()
              .reduce((sum, start) => sum + start, 0);
          }
        },
      ),
      { numRuns: 60 },
    );
    // A run in which nothing broke, or nothing was left of it, proves nothing.
    expect(replayed).toBeGreaterThan(100);
    expect(reused).toBeGreaterThan(500);
  });
});

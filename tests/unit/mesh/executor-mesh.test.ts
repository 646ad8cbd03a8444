import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Executor } from '../../../src/engine/executor.ts';
import { LocalHub } from '../../../src/mesh/local-hub.ts';
import { routeTokens } from '../../fixtures/route-tokens.ts';
import { ServedStage } from '../../../src/mesh/served-stage.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { GREEDY, NO_HISTORY } from '../../../src/protocol/sampling.ts';
import type { FrameTransport } from '../../../src/protocol/transport.ts';
import { expectedAnswer, RecordingSlice } from '../engine/recording-slice.ts';
import { chainOf, MODEL, peerId, requestId, settled } from './local-mesh.ts';
import { EPOCH_KEYS } from '../../fixtures/epoch-keys.ts';

/** For a machine that does many other things at the same time. */
const PROPERTY_TIMEOUT_MS = 60_000;

/** Real executors over caches that are really read and written, joined by real frames. */
class ExecutorMesh {
  readonly #hub = new LocalHub();
  readonly #requester = peerId(0xff);
  readonly #stages;
  #asked = 0;
  /** How often a stage took what it had for an older request. */
  timesBusy = 0;

  /** @param delay before a frame leaves, and before a pass begins. */
  constructor(stageCount: number, blockCount: number, delay: () => Promise<void> = () => Promise.resolve()) {
    this.#stages = Array.from({ length: stageCount }, (_, index) => {
      const slice = new RecordingSlice(blockCount, {
        hasEmbedding: index === 0,
        hasHead: index === stageCount - 1,
      });
      const executor = new Executor(slice, { prefillChunkRows: 16, idleHoldMs: 10 });
      const hop = { peer: peerId(index + 1), layerStart: index, layerEnd: index + 1 };
      slice.gate = delay;
      const direct = this.#hub.transport(hop.peer);
      const transport: FrameTransport = {
        self: direct.self,
        send: async (to, frame) => {
          await delay();
          await direct.send(to, frame);
        },
        onFrame: (listener) => direct.onFrame(listener),
        onPeerLost: (listener) => direct.onPeerLost(listener),
        reject: (from, reason) => direct.reject(from, reason),
      };
      const { layerStart, layerEnd } = hop;
      const served = new ServedStage({
        transport,
        executor,
        model: MODEL,
        layerStart,
        layerEnd,
        wireFormat: 'f16',
      });
      return { hop, executor, served };
    });
  }

  /**
   * Asks again, from where it was, when a stage is too full to go on.
   * @param stopAfter tokens, after which the requester leaves.
   */
  async ask(prompt: readonly number[], maxTokens: number, stopAfter = Infinity) {
    this.#asked += 1;
    const id = requestId(this.#asked);
    const tokens: number[] = [];
    let cachedTokens = 0;
    for (let epoch = 0; tokens.length < Math.min(maxTokens, stopAfter); epoch += 1) {
      const soFar = [...prompt, ...tokens];
      const route = routeTokens({
        transport: this.#hub.transport(this.#requester),
        request: {
          route: { requestId: id, epoch, model: MODEL, hops: this.#stages.map(({ hop }) => hop) },
          requester: this.#requester,
          promptTokens: soFar.length,
          timeLimitMs: 60_000,
          maxTokens: maxTokens - tokens.length,
          stopTokenIds: [],
          sampling: GREEDY,
          history: NO_HISTORY,
          constraint: null,
          keepsCache: true,
          epochKey: EPOCH_KEYS.at(epoch),
        },
        promptTokenIds: Uint32Array.from(soFar),
        blockHashes: chainOf(soFar),
        onOpened: (agreed) => (cachedTokens = agreed),
        signal: new AbortController().signal,
      });
      try {
        for await (const { tokenId } of route) {
          tokens.push(tokenId);
          if (tokens.length >= stopAfter) break;
        }
      } catch (thrown) {
        if (SkeinError.from(thrown).code !== 'busy') throw thrown;
        this.timesBusy += 1;
        await settled();
      }
    }
    return { tokens, cachedTokens };
  }

  get stats() {
    return this.#stages.map(({ executor }) => executor.stats);
  }

  get openRequests(): number {
    return this.#stages.reduce(
      (sum, { executor, served }) => sum + executor.stats.activeSequences + served.activeRequests,
      0,
    );
  }
}

const text = (seed: number, length: number) =>
  Array.from({ length }, (_, index) => (seed * 997 + index * index * 13 + index) % 2000);

describe('executors on a route', () => {
  it.each([1, 2, 3])('compute a shared prefix once, over %i stages', async (stageCount) => {
    const mesh = new ExecutorMesh(stageCount, 64);
    const prompts = [
      [...text(1, 256), 1, 2, 3],
      [...text(1, 256), 7, 8, 9, 10],
    ];
    const answers = [];
    for (const prompt of prompts) {
      answers.push(await mesh.ask(prompt, 10));
      await settled();
    }
    expect(answers.map(({ cachedTokens }) => cachedTokens)).toEqual([0, 256]);
    expect(answers.map(({ tokens }) => tokens)).toEqual(
      prompts.map((prompt) => expectedAnswer(prompt, 10, stageCount)),
    );
    const rows = 259 + 9 + 4 + 9;
    expect(mesh.stats.map(({ rowsComputed }) => rowsComputed)).toEqual(new Array(stageCount).fill(rows));
    expect(mesh.stats).toMatchObject(new Array(stageCount).fill({ cachedTokens: 256, freeBlocks: 64 }));
  });

  it('decode together what decodes at the same time, when they are a route of their own', async () => {
    const mesh = new ExecutorMesh(1, 64, settled);
    const prompts = Array.from({ length: 6 }, (_, index) => text(index, 4 + 20 * index));
    const answers = await Promise.all(prompts.map((prompt) => mesh.ask(prompt, 30)));
    expect(answers.map(({ tokens }) => tokens)).toEqual(
      prompts.map((prompt) => expectedAnswer(prompt, 30, 1)),
    );
    const [stats] = mesh.stats;
    // Prompts begin to decode one after the other, 18 passes apart at most; from then on all take turns together.
    expect(stats?.steps).toBeLessThanOrEqual(18 + 30);
  });

  it(
    'answer alike whatever the company, the caches and who leaves',
    { timeout: PROPERTY_TIMEOUT_MS },
    async () => {
      const question = fc.record({
        seed: fc.integer({ min: 0, max: 1 }),
        sharedLength: fc.integer({ min: 0, max: 90 }),
        ownLength: fc.integer({ min: 1, max: 20 }),
        maxTokens: fc.integer({ min: 1, max: 24 }),
        stopAfter: fc.option(fc.integer({ min: 1, max: 10 }), { freq: 3, nil: Infinity }),
      });
      let hits = 0;
      let preemptions = 0;
      let timesBusy = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 3 }),
          fc.integer({ min: 9, max: 14 }),
          fc.array(fc.array(question, { minLength: 2, maxLength: 6 }), { minLength: 2, maxLength: 4 }),
          async (stageCount, blockCount, rounds) => {
            const mesh = new ExecutorMesh(stageCount, blockCount);
            for (const round of rounds) {
              const asked = round.map(
                async ({ seed, sharedLength, ownLength, maxTokens, stopAfter }, index) => {
                  const prompt = [...text(seed, sharedLength), ...text(50 + index, ownLength)];
                  const { tokens, cachedTokens } = await mesh.ask(prompt, maxTokens, stopAfter);
                  hits += cachedTokens;
                  expect(tokens).toEqual(expectedAnswer(prompt, Math.min(maxTokens, stopAfter), stageCount));
                },
              );
              await Promise.all(asked);
              await settled();
              expect(mesh.openRequests).toBe(0);
              expect(mesh.stats.map(({ freeBlocks }) => freeBlocks)).toEqual(
                mesh.stats.map(() => blockCount),
              );
            }
            timesBusy += mesh.timesBusy;
            preemptions += mesh.stats.reduce((sum, stats) => sum + stats.preemptions, 0);
          },
        ),
        { numRuns: 40 },
      );
      expect(hits).toBeGreaterThan(1000);
      expect(preemptions + timesBusy).toBeGreaterThan(5);
    },
  );
});

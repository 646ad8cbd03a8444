import { describe, expect, it } from 'vitest';
import { generate } from '../../../src/client/generate.ts';
import type { GenerateEvent, GenerateResult } from '../../../src/client/generate.ts';
import type { GenerateDeps } from '../../../src/client/generation.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { GREEDY } from '../../../src/protocol/sampling.ts';
import type { StageOutput } from '../../../src/protocol/stage.ts';
import { expectedTokens } from '../mesh/adding-machine.ts';
import { MODEL, settled } from '../mesh/local-mesh.ts';
import { ReplicaMesh } from './replica-mesh.ts';
import type { Replica } from './replica-mesh.ts';

const PROMPT = Array.from({ length: 90 }, (_, index) => (index * 37 + 11) % 1000);
const MAX_TOKENS = 40;
const SLICES = 3;
/** Longer than a suspended sequence is kept. */
const LONG_AFTER_MS = 40_000;

interface Run {
  readonly events: GenerateEvent[];
  readonly result: Promise<GenerateResult>;
}

/** @param onEvent is told of every event before the next is asked for. */
function start(
  mesh: ReplicaMesh,
  onEvent: (event: GenerateEvent, events: readonly GenerateEvent[]) => void = () => undefined,
  changes: Partial<GenerateDeps> = {},
): Run {
  const events: GenerateEvent[] = [];
  const result = (async () => {
    const prompt = { kind: 'ids', ids: PROMPT } as const;
    const request = { model: MODEL, prompt, maxTokens: MAX_TOKENS, sampling: GREEDY };
    for await (const event of generate(request, mesh.deps(changes))) {
      events.push(event);
      onEvent(event, events);
      if (event.type === 'done') return event.result;
    }
    throw new Error('the generation ended without a result');
  })();
  // Who looks at it later hears of it then.
  result.catch(() => undefined);
  return { events, result };
}

const tokenCount = (events: readonly GenerateEvent[]) => events.filter(({ type }) => type === 'token').length;

/** Calls once, before the machine's outputs of the `count`th pass leave. */
function atPass({ machine }: Replica, count: number, act: () => void): void {
  let passes = 0;
  machine.tamper = (outputs) => {
    passes += 1;
    if (passes === count) act();
    return outputs;
  };
}

async function expectGolden(mesh: ReplicaMesh, run: Run, withinMs = 10_000): Promise<GenerateResult> {
  await mesh.pass(withinMs);
  const result = await run.result;
  expect(result.tokenIds).toEqual(expectedTokens(PROMPT, mesh.layerCount, MAX_TOKENS));
  expect(tokenCount(run.events)).toBe(MAX_TOKENS);
  await mesh.pass(LONG_AFTER_MS, 1_000);
  expect(mesh.openRequests).toBe(0);
  return result;
}

describe('an answer goes on', () => {
  it.each([0, 1, 2])('when hop %i dies in prefill', async (slice) => {
    const mesh = new ReplicaMesh(SLICES, 2);
    const victim = mesh.replica(slice);
    atPass(victim, 3, () => mesh.kill(victim));
    const { reroutes } = await expectGolden(mesh, start(mesh));
    expect(reroutes).toMatchObject([{ peer: victim.hop.peer, code: 'peer-lost', phase: 'prefilling' }]);
    expect(mesh.suspected).toEqual([victim.hop.peer]);
  });

  it.each([0, 1, 2])('when hop %i dies in decode, and survivors compute little again', async (slice) => {
    const undisturbed = new ReplicaMesh(SLICES, 1);
    await expectGolden(undisturbed, start(undisturbed));
    const [whole = 0] = undisturbed.rowsComputed;
    const mesh = new ReplicaMesh(SLICES, 2);
    const victim = mesh.replica(slice);
    const run = start(mesh, (_event, events) => {
      if (tokenCount(events) === 20) mesh.kill(victim);
    });
    const { reroutes, cachedTokens } = await expectGolden(mesh, run);
    expect(reroutes).toMatchObject([{ peer: victim.hop.peer, code: 'peer-lost', phase: 'decoding' }]);
    expect(run.events.map(({ type }) => type)).toContain('resumed');
    const survivors = [0, 1, 2].filter((other) => other !== slice).map((other) => mesh.replica(other));
    for (const { machine } of survivors) {
      // A block is not whole, and a step or two were under way.
      expect(machine.rowsComputed).toBeLessThan(whole + 40);
    }
    // The replacement has nothing, and computes prompt and answer.
    const replacement = mesh.replica(slice, 1).machine.rowsComputed;
    expect(replacement).toBeGreaterThan(PROMPT.length);
    expect(cachedTokens).toBe(0);
  });

  it('when one replica after the other dies', async () => {
    const mesh = new ReplicaMesh(SLICES, 4);
    const doomed = [mesh.replica(1, 0), mesh.replica(0, 0), mesh.replica(2, 0), mesh.replica(1, 1)];
    const run = start(mesh, (event, events) => {
      const victim = doomed[tokenCount(events) / 8 - 1];
      if (event.type === 'token' && victim) mesh.kill(victim);
    });
    const { reroutes } = await expectGolden(mesh, run);
    expect(reroutes.map(({ peer }) => peer)).toEqual(doomed.map(({ hop }) => hop.peer));
    expect(reroutes.map(({ epoch }) => epoch)).toEqual([0, 1, 2, 3]);
  });

  it.each([0, 1, 2])('within seconds when hop %i takes its work and never answers', async (slice) => {
    const mesh = new ReplicaMesh(SLICES, 2);
    const victim = mesh.replica(slice);
    let tokens = 0;
    victim.machine.tamper = (outputs) => ((tokens += outputs.length) > 20 ? [] : outputs);
    const run = start(mesh);
    await mesh.pass(6_000);
    expect(run.events.map(({ type }) => type)).toContain('resumed');
    const { reroutes } = await expectGolden(mesh, run);
    expect(reroutes).toMatchObject([{ peer: victim.hop.peer, code: 'timeout' }]);
  });

  it('while the server is away, as soon as it is back', async () => {
    const mesh = new ReplicaMesh(SLICES, 2);
    const victim = mesh.replica(1);
    const isAway = () => mesh.clock.now() < 20_000;
    const run = start(
      mesh,
      (_event, events) => {
        if (tokenCount(events) === 20) mesh.kill(victim);
      },
      {
        requestRoute: async (query) => {
          await Promise.resolve();
          if (query.epoch > 0 && isAway()) throw new SkeinError('server-lost', 'away');
          return { ...query, hops: mesh.hops(query.exclude) };
        },
      },
    );
    await mesh.pass(15_000);
    expect(tokenCount(run.events)).toBe(20);
    const { reroutes } = await expectGolden(mesh, run);
    expect(reroutes[0]?.pauseMs).toBeGreaterThanOrEqual(20_000);
    expect(reroutes[0]?.pauseMs).toBeLessThan(21_500);
  });

  it('when a hop that computes wrong values is caught, with nothing of what it may have spoilt', async () => {
    const mesh = new ReplicaMesh(SLICES, 2);
    const liar = mesh.replica(1);
    let passes = 0;
    liar.machine.tamper = (outputs) => {
      passes += 1;
      if (passes !== 25) return outputs;
      return outputs.map((output): StageOutput => {
        return output.kind === 'activations' ? { ...output, values: output.values.map(() => NaN) } : output;
      });
    };
    const { reroutes } = await expectGolden(mesh, start(mesh));
    expect(reroutes).toHaveLength(1);
    expect(['bad-frame', 'internal']).toContain(reroutes[0]?.code);
    expect(reroutes[0]?.peer).toBe(liar.hop.peer);
  });
});

describe('the end of an answer', () => {
  it('closes every hop of every route that it had', async () => {
    for (const at of [1, 15, 25]) {
      const mesh = new ReplicaMesh(SLICES, 2);
      const abort = new AbortController();
      const prompt = { kind: 'ids', ids: PROMPT } as const;
      const request = { model: MODEL, prompt, maxTokens: MAX_TOKENS, sampling: GREEDY };
      const events = generate(request, mesh.deps(), abort.signal);
      const ended = (async () => {
        let tokens = 0;
        for await (const { type } of events) {
          if (type === 'token' && (tokens += 1) === 20) {
            // A first hop that lives but is avoided: it is told once the others have taken over.
            mesh.replica(0).machine.tamper = (outputs) =>
              outputs.map(({ requestId }): StageOutput => {
                return { kind: 'failed', requestId, error: new SkeinError('device-lost', 'gone') };
              });
          }
          if (type === 'token' && tokens === at) abort.abort();
        }
      })();
      ended.catch(() => undefined);
      await mesh.pass(1_000);
      await expect(ended).rejects.toMatchObject({ code: 'aborted' });
      await settled();
      expect(mesh.openRequests).toBe(0);
    }
  });
});

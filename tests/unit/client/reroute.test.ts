import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generate } from '../../../src/client/generate.ts';
import type { GenerateEvent, GenerateResult } from '../../../src/client/generate.ts';
import type { GenerateDeps } from '../../../src/client/generation.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { GREEDY } from '../../../src/protocol/sampling.ts';
import type { StageOutput } from '../../../src/protocol/stage.ts';
import { expectedTokens } from '../mesh/adding-machine.ts';
import { MODEL, settled } from '../mesh/local-mesh.ts';
import type { Replica } from '../mesh/replica-mesh.ts';
import { GenerationMesh } from './generation-mesh.ts';

const PROMPT = Array.from({ length: 90 }, (_, index) => (index * 37 + 11) % 1000);
const MAX_TOKENS = 40;
const SLICES = 3;
/** For a machine that does many other things at the same time. */
const PROPERTY_TIMEOUT_MS = 60_000;
/** Longer than a suspended sequence is kept. */
const LONG_AFTER_MS = 40_000;

interface Run {
  readonly events: GenerateEvent[];
  /** Whom the last route had to do without. */
  excluded(): readonly PeerId[];
  readonly result: Promise<GenerateResult>;
}

/** @param onEvent is told of every event before the next is asked for. */
function start(
  mesh: GenerationMesh,
  onEvent: (event: GenerateEvent, events: readonly GenerateEvent[]) => void = () => undefined,
  changes: Partial<GenerateDeps> = {},
): Run {
  const events: GenerateEvent[] = [];
  let excluded: readonly PeerId[] = [];
  const base = mesh.deps(changes);
  const deps = mesh.deps({
    ...changes,
    requestRoute: (query, ...rest) => {
      excluded = query.exclude;
      return base.requestRoute(query, ...rest);
    },
  });
  const result = (async () => {
    const prompt = { kind: 'ids', ids: PROMPT } as const;
    const request = { model: MODEL, prompt, maxTokens: MAX_TOKENS, sampling: GREEDY };
    for await (const event of generate(request, deps)) {
      events.push(event);
      onEvent(event, events);
      if (event.type === 'done') return event.result;
    }
    throw new Error('the generation ended without a result');
  })();
  // Who looks at it later hears of it then.
  result.catch(() => undefined);
  return { events, excluded: () => excluded, result };
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

/** From now on it is of no use. */
function spoil(mesh: GenerationMesh, victim: Replica, kind: 'dies' | 'hangs' | 'errs'): void {
  if (kind === 'dies') mesh.kill(victim);
  else if (kind === 'hangs') victim.machine.tamper = () => [];
  else {
    victim.machine.tamper = (outputs) =>
      outputs.map(({ requestId }): StageOutput => {
        return { kind: 'failed', requestId, error: new SkeinError('internal', 'broken') };
      });
  }
}

async function expectGolden(mesh: GenerationMesh, run: Run, withinMs = 10_000): Promise<GenerateResult> {
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
    const mesh = new GenerationMesh(SLICES, 2);
    const victim = mesh.at(slice);
    atPass(victim, 3, () => mesh.kill(victim));
    const { reroutes } = await expectGolden(mesh, start(mesh));
    expect(reroutes).toMatchObject([{ peer: victim.hop.peer, code: 'peer-lost', phase: 'prefilling' }]);
    expect(mesh.suspected).toEqual([victim.hop.peer]);
  });

  it.each([0, 1, 2])('when hop %i dies in decode, and survivors compute little again', async (slice) => {
    const undisturbed = new GenerationMesh(SLICES, 1);
    await expectGolden(undisturbed, start(undisturbed));
    const [whole = 0] = undisturbed.rowsComputed();
    const mesh = new GenerationMesh(SLICES, 2);
    const victim = mesh.at(slice);
    const run = start(mesh, (_event, events) => {
      if (tokenCount(events) === 20) mesh.kill(victim);
    });
    const { reroutes, cachedTokens } = await expectGolden(mesh, run);
    expect(reroutes).toMatchObject([{ peer: victim.hop.peer, code: 'peer-lost', phase: 'decoding' }]);
    expect(run.events.map(({ type }) => type)).toContain('resumed');
    const survivors = [0, 1, 2].filter((other) => other !== slice).map((other) => mesh.at(other));
    for (const { machine } of survivors) {
      // A block is not whole, and a step or two were under way.
      expect(machine.rowsComputed).toBeLessThan(whole + 40);
    }
    // The replacement has nothing, and computes prompt and answer.
    const replacement = mesh.at(slice, 1).machine.rowsComputed;
    expect(replacement).toBeGreaterThan(PROMPT.length);
    expect(cachedTokens).toBe(0);
  });

  it('when one replica after the other dies', async () => {
    const mesh = new GenerationMesh(SLICES, 4);
    const doomed = [mesh.at(1, 0), mesh.at(0, 0), mesh.at(2, 0), mesh.at(1, 1)];
    const run = start(mesh, (event, events) => {
      const victim = doomed[tokenCount(events) / 8 - 1];
      if (event.type === 'token' && victim) mesh.kill(victim);
    });
    const { reroutes } = await expectGolden(mesh, run);
    expect(reroutes.map(({ peer }) => peer)).toEqual(doomed.map(({ hop }) => hop.peer));
    expect(reroutes.map(({ epoch }) => epoch)).toEqual([0, 1, 2, 3]);
  });

  it.each([0, 1, 2])('within seconds when hop %i takes its work and never answers', async (slice) => {
    const mesh = new GenerationMesh(SLICES, 2);
    const victim = mesh.at(slice);
    let tokens = 0;
    victim.machine.tamper = (outputs) => ((tokens += outputs.length) > 20 ? [] : outputs);
    const run = start(mesh);
    await mesh.pass(6_000);
    expect(run.events.map(({ type }) => type)).toContain('resumed');
    const { reroutes } = await expectGolden(mesh, run);
    expect(reroutes).toMatchObject([{ peer: victim.hop.peer, code: 'timeout' }]);
  });

  it('while the server is away, as soon as it is back', async () => {
    const mesh = new GenerationMesh(SLICES, 2);
    const victim = mesh.at(1);
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
    const mesh = new GenerationMesh(SLICES, 2);
    const liar = mesh.at(1);
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

describe('a request that a hop refuses', () => {
  const refuse = (replica: Replica) => {
    replica.machine.tamper = (outputs) =>
      outputs.map(({ requestId }): StageOutput => {
        return { kind: 'failed', requestId, error: new SkeinError('bad-argument', 'not with me') };
      });
  };

  it('goes on with another', async () => {
    const mesh = new GenerationMesh(SLICES, 2);
    refuse(mesh.at(1));
    const { reroutes } = await expectGolden(mesh, start(mesh));
    expect(reroutes).toMatchObject([{ peer: mesh.at(1).hop.peer }]);
  });

  it('ends when another refuses it too', async () => {
    const mesh = new GenerationMesh(SLICES, 3);
    for (const replica of [0, 1, 2]) refuse(mesh.at(1, replica));
    const { result } = start(mesh);
    await mesh.pass(1_000);
    await expect(result).rejects.toMatchObject({ code: 'bad-argument', message: 'not with me' });
    await mesh.pass(LONG_AFTER_MS, 1_000);
    expect(mesh.openRequests).toBe(0);
  });
});

describe('whatever is lost', () => {
  it('answers are those of an undisturbed mesh', { timeout: PROPERTY_TIMEOUT_MS }, async () => {
    const fault = fc.record({
      slice: fc.integer({ min: 0, max: SLICES - 1 }),
      afterToken: fc.integer({ min: 0, max: MAX_TOKENS - 1 }),
      kind: fc.constantFrom('dies' as const, 'hangs' as const, 'errs' as const),
    });
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fault, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 5, max: 40 }),
        async (faults, chunkRows) => {
          // As many replicas as faults, and one: somebody is always left.
          const mesh = new GenerationMesh(SLICES, faults.length + 1, chunkRows);
          const due = faults.toSorted((a, b) => a.afterToken - b.afterToken);
          const strike = (tokens: number) => {
            for (let next = due[0]; next !== undefined && next.afterToken <= tokens; next = due[0]) {
              due.shift();
              const used = mesh.hops(run.excluded());
              const peer = used[next.slice]?.peer;
              const victim = mesh.replicas.find(({ hop }) => hop.peer === peer);
              if (victim) spoil(mesh, victim, next.kind);
            }
          };
          const run = start(mesh, (_event, events) => strike(tokenCount(events)));
          strike(0);
          const { reroutes } = await expectGolden(mesh, run, 40_000);
          for (const { code, phase } of reroutes) seen.add(code).add(phase);
        },
      ),
      { numRuns: 75 },
    );
    expect([...seen].toSorted()).toEqual(['decoding', 'internal', 'peer-lost', 'prefilling', 'timeout']);
  });
});

describe('the end of an answer', () => {
  it('closes every hop of every route that it had', async () => {
    for (const at of [1, 15, 25]) {
      const mesh = new GenerationMesh(SLICES, 2);
      const abort = new AbortController();
      const prompt = { kind: 'ids', ids: PROMPT } as const;
      const request = { model: MODEL, prompt, maxTokens: MAX_TOKENS, sampling: GREEDY };
      const events = generate(request, mesh.deps(), abort.signal);
      const ended = (async () => {
        let tokens = 0;
        for await (const { type } of events) {
          if (type === 'token' && (tokens += 1) === 20) {
            // A first hop that lives but is avoided: it is told once the others have taken over.
            mesh.at(0).machine.tamper = (outputs) =>
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

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { generate } from '../../../src/client/generate.ts';
import type {
  GenerateDeps,
  GenerateEvent,
  GenerateRequest,
  GenerateResult,
} from '../../../src/client/generate.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { GREEDY, sampling } from '../../../src/protocol/sampling.ts';
import type { OpenRequest, StageOutput } from '../../../src/protocol/stage.ts';
import type { Tokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { refusalOf } from '../../fixtures/errors.ts';
import { expectedTokens } from '../mesh/adding-machine.ts';
import { LocalMesh, MODEL, settled } from '../mesh/local-mesh.ts';

const PROMPT = Array.from({ length: 50 }, (_, index) => index * 7);

function requestOf(ids: readonly number[], maxTokens: number, changes: Partial<GenerateRequest> = {}) {
  return { model: MODEL, prompt: { kind: 'ids', ids }, maxTokens, sampling: GREEDY, ...changes } as const;
}

function sameIds(expected: readonly number[]): (ids: readonly number[]) => boolean {
  return (ids) => ids.length === expected.length && expected.every((id) => ids.includes(id));
}

/** The world of a mesh in this process; every route is all of its stages. */
function depsOf(mesh: LocalMesh, changes: Partial<GenerateDeps> = {}): GenerateDeps {
  return {
    transport: mesh.hub.transport(mesh.requester),
    tokenizer: {
      stopTokenIds: [],
      streamDecoder: () => ({ push: () => '', flush: () => '' }),
    } as unknown as Tokenizer,
    requestRoute: (query) => Promise.resolve({ ...query, hops: mesh.stages.map(({ hop }) => hop) }),
    endRoute: () => undefined,
    now: () => performance.now(),
    sleep: (ms, signal) => sleep(ms, undefined, { signal }),
    ...changes,
  };
}

async function run(
  events: AsyncIterable<GenerateEvent>,
): Promise<{ types: string[]; result: GenerateResult }> {
  const types: string[] = [];
  for await (const event of events) {
    types.push(event.type);
    if (event.type === 'done') return { types, result: event.result };
  }
  throw new Error('the generation ended without a result');
}

describe('a generation', () => {
  it('says how much of its prompt the stages had, the last answer included', async () => {
    const mesh = new LocalMesh(3);
    const first = await run(generate(requestOf(PROMPT, 20), depsOf(mesh)));
    expect(first.result).toMatchObject({ cachedTokens: 0, promptTokens: 50, finishReason: 'length' });
    expect(first.result.tokenIds).toEqual(expectedTokens(PROMPT, mesh.layerCount, 20));
    await settled();
    const next = [...PROMPT, ...first.result.tokenIds, 3, 1, 4];
    const second = await run(generate(requestOf(next, 5), depsOf(mesh)));
    expect(second.result.cachedTokens).toBe(64);
    expect(second.result.tokenIds).toEqual(expectedTokens(next, mesh.layerCount, 5));
  });

  it('goes on after a failure with what the stages still have', async () => {
    const mesh = new LocalMesh(3);
    const { machine } = mesh.stage(2);
    let tokens = 0;
    machine.tamper = (outputs) =>
      outputs.map((output): StageOutput => {
        tokens += 1;
        if (tokens !== 18) return output;
        const error = new SkeinError('internal', 'once');
        return { kind: 'failed', requestId: output.requestId, error };
      });
    const { types, result } = await run(generate(requestOf(PROMPT, 30), depsOf(mesh)));
    expect(result.tokenIds).toEqual(expectedTokens(PROMPT, mesh.layerCount, 30));
    expect(types.filter((type) => type === 'route')).toHaveLength(2);
    // What the failed stage had computed of the answer nobody named to it in time; the prompt it has.
    expect(result.cachedTokens).toBe(48);
    await settled();
    expect(mesh.openRequests).toBe(0);
  });

  it('goes on as it began: penalties count what was said, and what is missing of the least length is missing', async () => {
    const mesh = new LocalMesh(1);
    const { machine } = mesh.stage(0);
    const opened: Pick<OpenRequest, 'sampling' | 'history'>[] = [];
    const open = machine.open.bind(machine);
    machine.open = (request, cacheScope) => {
      opened.push(request);
      return open(request, cacheScope);
    };
    const prompt = [5, 6, 5, 7];
    const answer = expectedTokens(prompt, mesh.layerCount, 30);
    const said = answer.slice(0, 17);
    const counts = new Map(said.map((id) => [id, said.filter((other) => other === id).length]));
    const byId = ([a]: readonly number[], [b]: readonly number[]) => (a ?? NaN) - (b ?? NaN);
    const cases = [
      { changes: {}, prompt: [], counts: [] },
      { changes: { presencePenalty: 1 }, prompt: [], counts: [...counts] },
      { changes: { frequencyPenalty: -1 }, prompt: [], counts: [...counts] },
      { changes: { repetitionPenalty: 1.1 }, prompt: [5, 6, 7], counts: [...counts] },
    ];
    for (const { changes, prompt: expectedPrompt, counts: expectedCounts } of cases) {
      opened.length = 0;
      let tokens = 0;
      machine.tamper = (outputs) =>
        outputs.map((output): StageOutput => {
          tokens += 1;
          const error = new SkeinError('internal', 'once');
          return tokens === 18 ? { kind: 'failed', requestId: output.requestId, error } : output;
        });
      const params = sampling({ ...changes, minTokens: 20, topLogProbabilities: 2 });
      const { result } = await run(generate(requestOf(prompt, 30, { sampling: params }), depsOf(mesh)));
      expect(result.tokenIds).toEqual(answer);
      expect(opened[0]).toMatchObject({
        sampling: params,
        history: { prompt: expect.toSatisfy(sameIds(expectedPrompt)) as unknown, generated: [] },
      });
      expect(opened[1]?.sampling).toEqual({ ...params, minTokens: 3 });
      expect(opened[1]?.history.prompt).toSatisfy(sameIds(expectedPrompt));
      expect(opened[1]?.history.generated.toSorted(byId)).toEqual(expectedCounts.toSorted(byId));
    }
  });

  it('hands on the most probable tokens of each', async () => {
    const mesh = new LocalMesh(2);
    const topLogProbabilities = [
      { tokenId: 3, logProbability: -0.25 },
      { tokenId: 1, logProbability: -2.5 },
    ];
    mesh.stage(1).machine.tamper = (outputs) =>
      outputs.map((output) => (output.kind === 'token' ? { ...output, topLogProbabilities } : output));
    const seen: unknown[] = [];
    for await (const event of generate(requestOf(PROMPT, 3), depsOf(mesh))) {
      if (event.type === 'token') seen.push(event.topLogProbabilities);
    }
    expect(seen).toEqual([topLogProbabilities, topLogProbabilities, topLogProbabilities]);
  });

  it('ends at its time limit when stages are silent, and does not try again', async () => {
    const mesh = new LocalMesh(2);
    mesh.stage(1).machine.tamper = () => [];
    const seen: string[] = [];
    const startedAt = performance.now();
    const error = await refusalOf(async () => {
      for await (const { type } of generate(requestOf(PROMPT, 5, { timeLimitMs: 60 }), depsOf(mesh)))
        seen.push(type);
    });
    expect(error).toMatchObject({ code: 'timeout', data: { timeLimitMs: 60 } });
    expect(performance.now() - startedAt).toBeGreaterThan(55);
    expect(seen).toEqual(['route']);
    await settled();
    expect(mesh.openRequests).toBe(0);
  });

  it('ends at its time limit while it waits for a route, or to try again', async () => {
    const never = depsOf(new LocalMesh(1), {
      requestRoute: (_query, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new SkeinError('aborted', 'stopped')));
        }),
    });
    const busy = depsOf(new LocalMesh(1, { maxRequests: 0 }));
    for (const deps of [never, busy]) {
      const ended = refusalOf(() => run(generate(requestOf(PROMPT, 5, { timeLimitMs: 150 }), deps)));
      expect(await ended).toMatchObject({ code: 'timeout', data: { timeLimitMs: 150 } });
    }
  });

  it('is aborted, not late, when its caller stops it', async () => {
    const mesh = new LocalMesh(1);
    mesh.stage(0).machine.tamper = () => [];
    const caller = new AbortController();
    const ended = refusalOf(() =>
      run(generate(requestOf(PROMPT, 5, { timeLimitMs: 10_000 }), depsOf(mesh), caller.signal)),
    );
    await settled();
    caller.abort();
    expect(await ended).toMatchObject({ code: 'aborted' });
  });

  it('gives each route, and the server, the time that is left', async () => {
    let now = 0;
    const mesh = new LocalMesh(1);
    const limits: number[] = [];
    const { machine } = mesh.stage(0);
    const open = machine.open.bind(machine);
    machine.open = (request, cacheScope) => {
      limits.push(request.timeLimitMs);
      now += 400;
      if (limits.length < 3) throw new SkeinError('busy', 'full');
      return open(request, cacheScope);
    };
    // Never wakes for the deadline, at once for every other wait.
    const waitsForEver = (ms: number) => ms === 2000;
    const asked: number[] = [];
    const deps = depsOf(mesh, {
      requestRoute: (query) => {
        asked.push(query.timeLimitMs);
        return Promise.resolve({ ...query, hops: mesh.stages.map(({ hop }) => hop) });
      },
      now: () => now,
      sleep: (ms, signal) => (waitsForEver(ms) ? sleep(100_000, undefined, { signal }) : Promise.resolve()),
    });
    await run(generate(requestOf(PROMPT, 5, { timeLimitMs: 2000 }), deps));
    expect(limits).toEqual([2000, 1600, 1200]);
    expect(asked).toEqual(limits);
  });

  it('tells its place in the queue until it has a route', async () => {
    const mesh = new LocalMesh(1);
    const places: number[] = [];
    const types: string[] = [];
    const deps = depsOf(mesh, {
      requestRoute: async (query, _signal, onQueued) => {
        onQueued(3);
        await settled();
        onQueued(1);
        return { ...query, hops: mesh.stages.map(({ hop }) => hop) };
      },
    });
    for await (const event of generate(requestOf(PROMPT, 2), deps)) {
      types.push(event.type);
      if (event.type === 'queued') places.push(event.position);
    }
    expect(places).toEqual([3, 1]);
    expect(types).toEqual(['queued', 'queued', 'route', 'token', 'token', 'done']);
  });

  it('gives up its place when its caller stops it, or stops listening', async () => {
    for (const way of ['abort', 'return'] as const) {
      const caller = new AbortController();
      const waits: AbortSignal[] = [];
      const ended: unknown[] = [];
      const deps = depsOf(new LocalMesh(1), {
        requestRoute: (_query, signal, onQueued) =>
          new Promise((_resolve, reject) => {
            waits.push(signal);
            onQueued(2);
            signal.addEventListener('abort', () => reject(new SkeinError('aborted', 'stopped')));
          }),
        endRoute: (_requestId, outcome) => void ended.push(outcome),
      });
      const events = generate(requestOf(PROMPT, 2), deps, caller.signal);
      expect((await events.next()).value).toEqual({ type: 'queued', position: 2 });
      if (way === 'return') await events.return();
      else {
        caller.abort();
        expect(await refusalOf(() => events.next())).toMatchObject({ code: 'aborted' });
      }
      expect(waits.map(({ aborted }) => aborted)).toEqual([true]);
      expect(ended).toEqual([undefined]);
    }
  });

  it('outlives any number of failures, as long as there are tokens between them', async () => {
    const mesh = new LocalMesh(1);
    let tokens = 0;
    mesh.stage(0).machine.tamper = (outputs) =>
      outputs.map((output): StageOutput => {
        tokens += 1;
        const error = new SkeinError('internal', 'again');
        return tokens % 2 === 0 ? { kind: 'failed', requestId: output.requestId, error } : output;
      });
    const deps = depsOf(mesh, {
      sleep: (ms, signal) => (ms > 60_000 ? sleep(ms, undefined, { signal }) : Promise.resolve()),
    });
    const { types, result } = await run(generate(requestOf(PROMPT, 12), deps));
    expect(result.tokenIds).toEqual(expectedTokens(PROMPT, mesh.layerCount, 12));
    expect(types.filter((type) => type === 'waiting').length).toBeGreaterThan(8);
  });

  it('ends with how the last route went: tokens after its first, and their time', async () => {
    let now = 0;
    const mesh = new LocalMesh(1);
    let tokens = 0;
    mesh.stage(0).machine.tamper = (outputs) =>
      outputs.map((output): StageOutput => {
        tokens += 1;
        now += 250;
        const error = new SkeinError('internal', 'once');
        return tokens === 4 ? { kind: 'failed', requestId: output.requestId, error } : output;
      });
    const ended: unknown[] = [];
    const deps = depsOf(mesh, {
      now: () => now,
      endRoute: (_requestId, outcome) => void ended.push(outcome),
    });
    for await (const event of generate(requestOf(PROMPT, 8), deps)) {
      if (event.type === 'waiting') now += 10_000;
    }
    // Three tokens over the first route, five over the second; four came after the first of those.
    expect(ended).toEqual([{ tokens: 4, seconds: 1 }]);
  });

  it('goes on when its layers are being loaded, at first too', async () => {
    const mesh = new LocalMesh(1);
    let asked = 0;
    const deps = depsOf(mesh, {
      requestRoute: (query) => {
        asked += 1;
        if (asked <= 12) {
          const data = { loading: true };
          return Promise.reject(new SkeinError('no-route', 'layers 0–3 still loading', { data }));
        }
        return Promise.resolve({ ...query, hops: mesh.stages.map(({ hop }) => hop) });
      },
      sleep: (ms, signal) => (ms > 60_000 ? sleep(ms, undefined, { signal }) : Promise.resolve()),
    });
    const { types, result } = await run(generate(requestOf(PROMPT, 3), deps));
    expect(result.tokenIds).toEqual(expectedTokens(PROMPT, mesh.layerCount, 3));
    expect(types.filter((type) => type === 'waiting')).toHaveLength(12);
  });

  it.each([0, 1.5, -1, 24 * 60 * 60 * 1000 + 1])('refuses a time limit of %s', async (timeLimitMs) => {
    const refused = refusalOf(() =>
      run(generate(requestOf(PROMPT, 5, { timeLimitMs }), depsOf(new LocalMesh(1)))),
    );
    expect(await refused).toMatchObject({ code: 'bad-argument', data: { field: 'timeLimitMs' } });
  });
});

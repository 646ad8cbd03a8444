import { describe, expect, it } from 'vitest';
import type { PeerId, RequestId } from '../../../../src/protocol/ids.ts';
import type { Capability } from '../../../../src/protocol/signaling.ts';
import {
  allocatePipelines,
  layerCapacity,
  SHIPPED_SCORE,
  waterFill,
} from '../../../sim/policies/parallax/allocation.ts';
import type { ParallaxNode } from '../../../sim/policies/parallax/allocation.ts';
import { parallaxPaper } from '../../../sim/policies/parallax/paper.ts';
import { parallaxShipped } from '../../../sim/policies/parallax/shipped.ts';
import type { Policy, PolicyCommand, PolicyContext } from '../../../sim/policy.ts';
import { card, peerId } from '../../signaling/scheduler/instances.ts';

const GIB = 1024 ** 3;
/** 0.5 GiB a layer: a node of n GiB holds 1.3 n layers in the 65 % of its memory that are for weights. */
const LAYER_BYTES = GIB / 2;
const model = card({ layerCount: 70, bytesPerLayer: LAYER_BYTES, cacheBytesPerTokenPerLayer: 4096 });

function capability(memoryBytes: number, flops = 1e14): Capability {
  return {
    memoryBytes,
    matvecBytesPerSecond: 1e12,
    matmulFlopsPerSecond: flops,
    adapter: 'test',
  };
}

/** A node for this many layers. */
function nodeFor(index: number, layers: number, flops?: number): ParallaxNode {
  return {
    peer: peerId(index),
    capability: capability(((layers + 0.5) * LAYER_BYTES) / 0.65, flops),
  };
}

function layersOf(pipelines: readonly (readonly ParallaxNode[])[]): number[][] {
  return pipelines
    .map((pipeline) => pipeline.map((node) => layerCapacity(model, node)).sort((a, b) => b - a))
    .sort();
}

describe("Parallax's allocation", () => {
  it('makes two pipelines of three stages where filling greedily makes one of two', () => {
    const nodes = [40, 40, 20, 20, 10, 10].map((layers, index) => nodeFor(index, layers));
    expect(layersOf(allocatePipelines(model, nodes, SHIPPED_SCORE))).toEqual([
      [40, 20, 10],
      [40, 20, 10],
    ]);
  });

  it('takes the number of pipelines with the best k² / s*', () => {
    // Two pipelines of one node each: 4 / 2. Three would take 3 nodes more for one pipeline: 9 / 6.
    const nodes = [70, 70, 24, 23, 23].map((layers, index) => nodeFor(index, layers));
    const scores: [number, number][] = [];
    const pipelines = allocatePipelines(model, nodes, (count, stages) => {
      scores.push([count, stages]);
      return SHIPPED_SCORE(count, stages);
    });
    expect(scores).toEqual([
      [1, 1],
      [2, 2],
      [3, 5],
    ]);
    expect(pipelines).toHaveLength(2);
  });

  it('reserves room for the head on the node that closes a pipeline', () => {
    const withHead = { ...model, headBytes: 2 * LAYER_BYTES };
    const nodes = [nodeFor(0, 40), nodeFor(1, 30)];
    expect(allocatePipelines(model, nodes, SHIPPED_SCORE)).toHaveLength(1);
    expect(allocatePipelines(withHead, nodes, SHIPPED_SCORE)).toHaveLength(0);
  });

  it('splits a pipeline by arithmetic rate, capped by memory, largest remainders first', () => {
    const slices = waterFill(model, [nodeFor(0, 50, 3e14), nodeFor(1, 50, 1e14), nodeFor(2, 11, 3e14)]);
    const layers = [0, 1, 2].map((index) => slices?.get(peerId(index))).map((slice) => slice?.layerEnd);
    // 11 are all the third takes; of the other 59 the first does three quarters: 44.25 and 14.75.
    expect(layers).toEqual([44, 59, 70]);
  });

  it('gives a whole mesh of many nodes pipelines in bounded time', () => {
    const nodes = Array.from({ length: 200 }, (_, index) => nodeFor(index, 5 + ((index * 7) % 23)));
    const pipelines = allocatePipelines(model, nodes, SHIPPED_SCORE);
    expect(pipelines.length).toBeGreaterThan(10);
    const used = pipelines.flat().map(({ peer }) => peer);
    expect(new Set(used).size).toBe(used.length);
    for (const pipeline of pipelines) expect(waterFill(model, pipeline)).not.toBeNull();
  });
});

class Stage {
  #requests = 0;

  constructor(readonly policy: Policy) {}

  join(...nodes: readonly ParallaxNode[]): PolicyCommand[] {
    return nodes.flatMap(({ peer, capability: claim }) => [
      ...this.policy.handle(
        { type: 'join', peer, claim, bytesPerSecond: 1e9, cached: [], serverRttSeconds: 0.01 },
        0,
      ),
    ]);
  }

  /** Everybody who was told to load has loaded. */
  loaded(commands: readonly PolicyCommand[]): PolicyCommand[] {
    const last = new Map(
      commands.flatMap((command) => (command.type === 'assign' ? [[command.peer, command.slice]] : [])),
    );
    return [...last].flatMap(([peer, slice]) =>
      slice === null ? [] : [...this.policy.handle({ type: 'serving', peer, slice }, 0)],
    );
  }

  request(exclude: readonly PeerId[] = []): { id: RequestId; commands: readonly PolicyCommand[] } {
    this.#requests += 1;
    const id = `request-${this.#requests}` as RequestId;
    const commands = this.policy.handle(
      {
        type: 'request',
        requestId: id,
        requester: peerId(999),
        promptTokens: 10,
        maxTokens: 10,
        attempt: 0,
        exclude,
        previous: [],
      },
      0,
    );
    return { id, commands };
  }

  /** Peers of the route that a request got; empty when it waits. */
  routeOf(exclude?: readonly PeerId[]): PeerId[] {
    return this.request(exclude).commands.flatMap((command) =>
      command.type === 'route' ? command.hops.map(({ peer }) => peer) : [],
    );
  }
}

function context(pingSeconds: PolicyContext['pingSeconds'] = () => 0.01): PolicyContext {
  return { card: model, random: () => 0.5, pingSeconds };
}

describe('parallax-shipped', () => {
  function twoPipelines() {
    const stage = new Stage(parallaxShipped(context()));
    stage.loaded(stage.join(nodeFor(0, 40), nodeFor(1, 40)));
    stage.loaded(stage.join(nodeFor(2, 40), nodeFor(3, 40)));
    return stage;
  }

  it('sends requests round robin over disjoint pipelines', () => {
    const stage = twoPipelines();
    const routes = [1, 2, 3, 4].map(() => stage.routeOf());
    const [first, second] = routes;
    expect(new Set([...(first ?? []), ...(second ?? [])]).size).toBe(4);
    expect(routes).toEqual([first, second, first, second]);
  });

  it('leaves survivors idle after a leave while another pipeline is whole', () => {
    const stage = twoPipelines();
    expect(stage.policy.handle({ type: 'lost', peer: peerId(0) }, 0)).toEqual([]);
    const routes = [1, 2, 3].map(() => stage.routeOf());
    expect(new Set(routes.flat())).toEqual(new Set([peerId(2), peerId(3)]));
  });

  it('uses them again when a node joins that completes a pipeline with them', () => {
    const stage = twoPipelines();
    stage.policy.handle({ type: 'lost', peer: peerId(0) }, 0);
    stage.loaded(stage.join(nodeFor(4, 40)));
    const routes = [1, 2].map(() => stage.routeOf());
    expect(new Set(routes.flat())).toEqual(new Set([1, 2, 3, 4].map(peerId)));
  });

  it('allocates everything anew when no pipeline is left', () => {
    const stage = new Stage(parallaxShipped(context()));
    stage.loaded(stage.join(nodeFor(0, 40), nodeFor(1, 40)));
    stage.join(nodeFor(2, 40));
    const commands = stage.policy.handle({ type: 'lost', peer: peerId(1) }, 0);
    expect(commands).toHaveLength(2);
    stage.loaded(commands);
    expect(new Set(stage.routeOf())).toEqual(new Set([peerId(0), peerId(2)]));
  });

  it('lets requests wait when every pipeline is full, and gives them what is freed', () => {
    const stage = new Stage(
      parallaxShipped({ ...context(), card: { ...model, cacheBytesPerTokenPerLayer: 1e9 } }),
    );
    stage.loaded(stage.join(nodeFor(0, 70)));
    const running = Array.from({ length: 8 }, () => stage.request());
    expect(running.every(({ commands }) => commands.length === 1)).toBe(true);
    const waiting = stage.request();
    expect(waiting.commands).toEqual([]);
    const [first] = running;
    const ended = { type: 'ended', requester: peerId(999), outcome: null } as const;
    const next = stage.policy.handle({ ...ended, requestId: first?.id ?? waiting.id }, 0);
    expect(next).toMatchObject([{ type: 'route', requestId: waiting.id }]);
  });
});

describe('parallax-paper', () => {
  it('keeps the pipelines of the first phase inside regions, once one can hold the model', () => {
    const isHere = (peer: PeerId) => [0, 1, 2].map(peerId).includes(peer);
    const pingSeconds = (from: PeerId, to: PeerId) => (isHere(from) === isHere(to) ? 0.01 : 0.2);
    const stage = new Stage(parallaxPaper(context(pingSeconds)));
    stage.loaded(stage.join(nodeFor(0, 30), nodeFor(1, 30), nodeFor(10, 40)));
    expect(stage.routeOf()).toContain(peerId(10));
    stage.loaded(stage.join(nodeFor(2, 30), nodeFor(11, 40)));
    stage.loaded(stage.policy.handle({ type: 'lost', peer: peerId(10) }, 0));
    expect(new Set(stage.routeOf())).toEqual(new Set([0, 1, 2].map(peerId)));
  });

  it('stitches a route of layers from different pipelines, around whoever is excluded', () => {
    const stage = new Stage(parallaxPaper(context()));
    stage.loaded(stage.join(nodeFor(0, 40), nodeFor(1, 40)));
    stage.loaded(stage.join(nodeFor(2, 40), nodeFor(3, 40)));
    const [first] = stage.routeOf();
    const { commands } = stage.request(first === undefined ? [] : [first]);
    expect(commands).toMatchObject([{ type: 'route' }]);
    const hops = commands.flatMap((command) => (command.type === 'route' ? command.hops : []));
    expect(hops.map(({ layerStart }) => layerStart)).toEqual([
      0,
      ...hops.slice(0, -1).map((hop) => hop.layerEnd),
    ]);
    expect(hops.at(-1)?.layerEnd).toBe(70);
    expect(hops.map(({ peer }) => peer)).not.toContain(first);
  });

  it('gives a newcomer the layers with the least cache', () => {
    const stage = new Stage(parallaxPaper(context()));
    // The second has 58 layers, so its cache is thinner over each.
    stage.loaded(stage.join(nodeFor(0, 60, 1e13), nodeFor(1, 60, 5e13)));
    expect(stage.join(nodeFor(2, 12))).toEqual([
      { type: 'assign', peer: peerId(2), slice: { layerStart: 12, layerEnd: 24 } },
    ]);
  });
});

describe.each([
  ['parallax-shipped', parallaxShipped],
  ['parallax-paper', parallaxPaper],
])('%s', (_, policy) => {
  it('takes no more requests because those of an earlier pipeline end', () => {
    const full = { ...context(), card: { ...model, cacheBytesPerTokenPerLayer: 1e9 } };
    const stage = new Stage(policy(full));
    stage.loaded(stage.join(nodeFor(0, 40), nodeFor(1, 40)));
    stage.loaded(stage.join(nodeFor(2, 40), nodeFor(3, 40)));
    const before = Array.from({ length: 16 }, () => stage.request());
    expect(before.every(({ commands }) => commands.length === 1)).toBe(true);
    // One of each pipeline goes; what is left of both makes a third.
    const first = stage.policy.handle({ type: 'lost', peer: peerId(1) }, 0);
    stage.loaded([...first, ...stage.policy.handle({ type: 'lost', peer: peerId(2) }, 0)]);
    const after = Array.from({ length: 8 }, () => stage.request());
    expect(after.every(({ commands }) => commands.length === 1)).toBe(true);
    for (const { id: requestId } of before) {
      stage.policy.handle({ type: 'ended', requestId, requester: peerId(999), outcome: null }, 0);
    }
    expect(stage.request().commands).toEqual([]);
  });
});

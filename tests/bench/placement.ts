import { place } from '../../signaling/scheduler/placement.ts';
import type {
  Assignment,
  Network,
  Placement,
  PlacementInput,
  SchedulerNode,
} from '../../signaling/scheduler/types.ts';
import type { ModelId, PeerId } from '../../src/protocol/ids.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import {
  FEWEST_OF_MANY,
  qualityOf,
  randomInstance,
  seededRandom,
} from '../unit/signaling/scheduler/quality.ts';
import { atLeast, atMost, exactly } from './report.ts';
import type { Check, Table } from './report.ts';

const GB = 1e9;
const REGIONS = 5;
const NEAR_RTT_SECONDS = 0.02;
const FAR_RTT_SECONDS = 0.1;

const SEED = 1;
/** Meshes of one size that are placed in turn, so that no figure is that of one lucky mesh. */
const MESHES = 8;
/** As many as fit into the time below: small meshes are placed thousands of times before the compiler is done with them. */
const WARM_RUNS = 5000;
const MIN_RUNS = 15;
const MAX_RUNS = 1000;
const MEASURED_MS = 1500;

const INSTANCES = 1000;
const LEAST_MEAN_RATIO = 0.95;

/** Nodes, and the milliseconds that a placement of them may take. */
const SIZES: readonly (readonly [nodes: number, boundMs: number | null])[] = [
  [4, 0.1],
  [16, null],
  [64, null],
  [256, 8.5],
  [1024, null],
  [4096, 150],
];

/** 72 billion parameters at 4 bits, in the shapes of Qwen2.5-72B. */
export const BENCH_CARD: ModelCard = {
  id: 'seventy-two' as ModelId,
  url: '/models/seventy-two/',
  quantization: 'int4',
  cache: 'f16',
  activations: 'f32',
  layerCount: 80,
  hiddenSize: 8192,
  contextLength: 32_768,
  bytesPerLayer: 0.494 * GB,
  embeddingBytes: 1.32 * GB,
  headBytes: 1.32 * GB,
  multiplyAddsPerLayer: 0.878 * GB,
  headMultiplyAdds: 1.25 * GB,
  cacheBytesPerTokenPerLayer: 4096,
};

export const BENCH_NETWORK: Network = {
  regionRttSeconds: Array.from({ length: REGIONS }, (_, a) =>
    Array.from({ length: REGIONS }, (__, b) => (a === b ? NEAR_RTT_SECONDS : FAR_RTT_SECONDS)),
  ),
  links: new Map(),
};

/** Devices from a laptop to a server's GPU, over all regions. */
export function benchNodes(count: number, random: () => number): SchedulerNode[] {
  return Array.from({ length: count }, (_, index) => ({
    peer: index.toString(16).padStart(32, '0') as PeerId,
    capability: {
      memoryBytes: (12 + 36 * random()) * GB,
      matvecBytesPerSecond: (100 + 1700 * random()) * GB,
      matmulFlopsPerSecond: (5_000 + 100_000 * random()) * GB,
      adapter: 'bench',
    },
    region: Math.floor(random() * REGIONS),
    cached: [],
  }));
}

/** How long placing takes: everybody anew, and when one comes or goes. */
export function measurePlacement(onProgress: (line: string) => void): { table: Table; checks: Check[] } {
  const random = seededRandom(SEED);
  const checks: Check[] = [];
  const rows = SIZES.map(([count, boundMs]) => {
    onProgress(`placement of ${count} nodes`);
    const meshes = Array.from({ length: MESHES }, () => benchNodes(count + 1, random));
    const anew = meshes.map((nodes) => inputOf(nodes.slice(1), new Map()));
    const placed = meshes.map((nodes, index) => ({
      nodes,
      held: place(anew[index] ?? inputOf(nodes, new Map())),
    }));
    const joins = placed.map(({ nodes, held }) => inputOf(nodes, held.assignments));
    checks.push(wholeCheck(count, [...placed.map(({ held }) => held), ...joins.map(place)]));
    const leaves = placed.map(({ nodes, held }) => inputOf(nodes.slice(2), held.assignments));
    const freshMs = medianMs(anew);
    if (boundMs !== null) checks.push(atMost(`placement of ${count} nodes, ms`, freshMs, boundMs));
    return {
      nodes: count,
      'fresh, ms': freshMs,
      'one joins, ms': medianMs(joins),
      'one leaves, ms': medianMs(leaves),
    };
  });
  return { table: { title: 'Placement, medians, 80 layers, 5 regions', rows }, checks };
}

/** Placements of a few nodes against the best of all. */
export function measureQuality(onProgress: (line: string) => void): { table: Table; checks: Check[] } {
  onProgress(`${INSTANCES} small meshes against every placement there is`);
  const random = seededRandom(SEED);
  const ratiosByCount = new Map<number, number[]>();
  let [wrong, impossible] = [0, 0];
  for (let run = 0; run < INSTANCES; run += 1) {
    const instance = randomInstance(random);
    const { ratio, isRight } = qualityOf(instance);
    if (!isRight) wrong += 1;
    if (ratio === null) impossible += 1;
    else
      ratiosByCount.set(instance.nodes.length, [...(ratiosByCount.get(instance.nodes.length) ?? []), ratio]);
  }
  const rowOf = (nodes: string, ratios: readonly number[]) => ({
    nodes,
    instances: ratios.length,
    'mean of best': mean(ratios),
    'worst of best': Math.min(...ratios),
    'exactly best': ratios.filter((ratio) => ratio > 1 - 1e-9).length / ratios.length,
  });
  const counts = [...ratiosByCount].sort(([a], [b]) => a - b);
  const rows = [
    ...counts.map(([nodes, ratios]) => rowOf(String(nodes), ratios)),
    rowOf(`${FEWEST_OF_MANY} or more`, ratiosFrom(ratiosByCount, FEWEST_OF_MANY)),
    rowOf('all', ratiosFrom(ratiosByCount, 0)),
  ];
  return {
    table: {
      title: `Score of placements over the best of all; ${impossible} meshes cannot hold their model`,
      rows,
    },
    checks: qualityChecks(ratiosByCount, wrong),
  };
}

/** The larger meshes are asked by themselves: the smaller ones, where everything is tried, would carry the mean. */
export function qualityChecks(
  ratiosByCount: ReadonlyMap<number, readonly number[]>,
  wrongCount: number,
): Check[] {
  return [
    atLeast('mean share of the best score', mean(ratiosFrom(ratiosByCount, 0)), LEAST_MEAN_RATIO),
    atLeast(
      `mean share of the best score, ${FEWEST_OF_MANY} nodes or more`,
      mean(ratiosFrom(ratiosByCount, FEWEST_OF_MANY)),
      LEAST_MEAN_RATIO,
    ),
    exactly(
      'models not placed that could be, or the other way around, or predicted wrong, or too large',
      wrongCount,
      0,
    ),
  ];
}

function ratiosFrom(ratiosByCount: ReadonlyMap<number, readonly number[]>, fewestNodes: number): number[] {
  return [...ratiosByCount].flatMap(([nodes, ratios]) => (nodes < fewestNodes ? [] : ratios));
}

/** Whoever places nobody is quick: a time counts only where the model was placed. */
export function wholeCheck(nodes: number, placements: readonly Placement[]): Check {
  const holed = placements.filter(({ assignments, missing }) => missing.size > 0 || assignments.size === 0);
  return exactly(`meshes of ${nodes} nodes that are not whole`, holed.length, 0);
}

function inputOf(nodes: readonly SchedulerNode[], current: ReadonlyMap<PeerId, Assignment>): PlacementInput {
  return { models: [BENCH_CARD], nodes, current, stages: 'auto', network: BENCH_NETWORK };
}

/** Of calls one by one, warm. */
export function medianMs(inputs: readonly PlacementInput[]): number {
  const timeOf = (run: number) => {
    const input = inputs[run % inputs.length];
    const startMs = performance.now();
    if (input !== undefined) place(input);
    return performance.now() - startMs;
  };
  const beganMs = performance.now();
  for (let run = 0; run < WARM_RUNS && performance.now() - beganMs < MEASURED_MS; run += 1) timeOf(run);
  const times: number[] = [];
  const measuringMs = performance.now();
  while (
    times.length < MIN_RUNS ||
    (times.length < MAX_RUNS && performance.now() - measuringMs < MEASURED_MS)
  ) {
    times.push(timeOf(times.length));
  }
  return times.sort((a, b) => a - b)[times.length >> 1] ?? NaN;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

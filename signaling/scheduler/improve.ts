import { MAX_ROUTE_HOPS } from '../../src/protocol/limits.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import { buildPipelines, without } from './build.ts';
import type { BuildPlan } from './build.ts';
import type { Group } from './cuts.ts';
import { formPipeline, scoreOf } from './pipeline.ts';
import type { Pipeline } from './pipeline.ts';
import type { Network, SchedulerNode, StagePolicy } from './types.ts';

/** Of at most so many nodes there are several beginnings: single steps from one of them often end below the best. */
const MAX_RESTARTED_NODES = 8;
/** Of a beginning, each of the nodes that were too small for the ones before. */
const MAX_PIPELINES = 4;

/** A step must gain more than rounding. */
const LEAST_GAIN = 1 + 1e-9;

/** Groups of the pipelines that a step changes, by their index; one past the last is a new pipeline. */
type Step = ReadonlyMap<number, readonly Group[]>;

/**
 * The best that steps lead to from the given pipelines and, for few nodes, also from such with every number of stages.
 * @param idle nodes that are in none of the pipelines.
 * @param maxTrials steps that are tried from each beginning, to stay in milliseconds.
 */
export function improvePipelines(
  card: ModelCard,
  pipelines: readonly Pipeline[],
  idle: readonly SchedulerNode[],
  network: Network,
  stages: StagePolicy,
  maxTrials: number,
): readonly Pipeline[] {
  const nodes = [...pipelines.flatMap(({ groups }) => groups.flat()), ...idle];
  let best = stepUp(card, pipelines, idle, network, stages, maxTrials);
  if (stages !== 'auto' || nodes.length > MAX_RESTARTED_NODES) return best;
  for (let count = 1; count <= nodes.length; count += 1) {
    const plan: BuildPlan = { stageCounts: [count], cuts: 'by-speed', maxPipelines: MAX_PIPELINES };
    const begun = buildPipelines(card, nodes, network, plan);
    if (begun.length === 0) continue;
    const resting = begun.reduce<readonly SchedulerNode[]>(without, nodes);
    const bettered = stepUp(card, begun, resting, network, stages, maxTrials);
    if (scoreOf(bettered) > scoreOf(best) * LEAST_GAIN) best = bettered;
  }
  return best;
}

/**
 * Betters pipelines one step at a time, as long as a step is found: a node goes to another stage, makes one of its own
 * or a pipeline of its own; two nodes or two stages change places.
 */
function stepUp(
  card: ModelCard,
  pipelines: readonly Pipeline[],
  idle: readonly SchedulerNode[],
  network: Network,
  stages: StagePolicy,
  maxTrials: number,
): readonly Pipeline[] {
  let [best, score, resting] = [pipelines, scoreOf(pipelines), idle];
  let trials = 0;
  const tryNext = (): boolean => {
    for (const step of stepsFrom(best, resting)) {
      if (trials >= maxTrials) return false;
      trials += 1;
      const changed = apply(card, best, step, network, stages);
      if (changed === null) continue;
      const changedScore = scoreOf(changed);
      if (changedScore <= score * LEAST_GAIN) continue;
      const used = new Set(changed.flatMap(({ groups }) => groups.flat()));
      resting = resting.filter((node) => !used.has(node));
      [best, score] = [changed, changedScore];
      return true;
    }
    return false;
  };
  while (tryNext());
  return best;
}

function apply(
  card: ModelCard,
  pipelines: readonly Pipeline[],
  step: Step,
  network: Network,
  stages: StagePolicy,
): readonly Pipeline[] | null {
  if (stages !== 'auto' && step.has(pipelines.length)) return null;
  const changed: Pipeline[] = pipelines.filter((_, index) => !step.has(index));
  for (const groups of step.values()) {
    if (groups.length === 0) continue;
    if (groups.length > MAX_ROUTE_HOPS || (stages !== 'auto' && groups.length !== stages)) return null;
    const pipeline = formPipeline(card, groups, network);
    if (pipeline === null) return null;
    changed.push(pipeline);
  }
  return changed;
}

function* stepsFrom(pipelines: readonly Pipeline[], idle: readonly SchedulerNode[]): Generator<Step> {
  for (const node of idle) yield* newPlaces(pipelines, node, new Map());
  for (const [index, { groups }] of pipelines.entries()) {
    for (const node of groups.flat()) {
      yield* newPlaces(pipelines, node, new Map([[index, withoutNode(groups, node)]]));
    }
    yield* exchanges(groups, index);
  }
  for (const [index, { groups }] of pipelines.entries()) {
    for (const [otherIndex, other] of pipelines.entries()) {
      if (otherIndex < index) continue;
      for (const node of groups.flat()) {
        for (const partner of other.groups.flat()) {
          if (node === partner) continue;
          yield new Map([
            [index, swapped(groups, node, partner)],
            [otherIndex, swapped(other.groups, node, partner)],
          ]);
        }
      }
    }
  }
}

/** @param removal the pipeline the node leaves, without it. */
function* newPlaces(pipelines: readonly Pipeline[], node: SchedulerNode, removal: Step): Generator<Step> {
  for (const [index, { groups: before }] of pipelines.entries()) {
    const groups = removal.get(index) ?? before;
    for (const joined of groups) {
      yield new Map([
        ...removal,
        [index, groups.map((group) => (group === joined ? [...group, node] : group))],
      ]);
    }
    const places = new Set([0, 1, groups.length - 1, groups.length]);
    for (const place of places) {
      if (place < 0 || place > groups.length) continue;
      yield new Map([...removal, [index, groups.toSpliced(place, 0, [node])]]);
    }
  }
  yield new Map([...removal, [pipelines.length, [[node]]]]);
}

function* exchanges(groups: readonly Group[], index: number): Generator<Step> {
  for (const [a, group] of groups.entries()) {
    for (const [b, other] of groups.entries()) {
      if (b > a) yield new Map([[index, groups.with(a, other).with(b, group)]]);
    }
  }
}

function withoutNode(groups: readonly Group[], node: SchedulerNode): readonly Group[] {
  return groups
    .map((group) => (group.includes(node) ? group.filter((other) => other !== node) : group))
    .filter((group) => group.length > 0);
}

function swapped(groups: readonly Group[], a: SchedulerNode, b: SchedulerNode): readonly Group[] {
  return groups.map((group) =>
    group.includes(a) === group.includes(b)
      ? group
      : group.map((node) => (node === a ? b : node === b ? a : node)),
  );
}

import type { ModelCard } from '../../src/protocol/signaling.ts';
import type { Group } from './cuts.ts';
import { formInBestOrder, scoreOf } from './pipeline.ts';
import type { Pipeline } from './pipeline.ts';
import type { Network, SchedulerNode, StagePolicy } from './types.ts';

/** Above this many nodes there are too many ways to share them out: 203 sets of groups for six, 877 for seven. */
export const MAX_EXACT_NODES = 6;

/** By the number of nodes. */
const PARTITIONS = Array.from({ length: MAX_EXACT_NODES + 1 }, (_, count) =>
  partitionsOf([...Array(count).keys()]),
);

/** What the nodes of a set make at best. */
interface Best {
  readonly tokensPerSecond: number;
  readonly pipelines: readonly Pipeline[];
}

/**
 * The best pipelines of a few nodes, by trying all: every set of them as one pipeline, cut into stages in every way that
 * shares its nodes out among them, and every way to divide the nodes into such sets. The latency is that of the fastest
 * pipeline, so each is tried as that one, beside the highest throughput of the others.
 */
export function exactPipelines(
  card: ModelCard,
  nodes: readonly SchedulerNode[],
  network: Network,
  stages: StagePolicy,
): readonly Pipeline[] {
  const setCount = 1 << nodes.length;
  const candidates: { readonly set: number; readonly pipeline: Pipeline }[] = [];
  const bestOf: Best[] = [{ tokensPerSecond: 0, pipelines: [] }];
  for (let set = 1; set < setCount; set += 1) {
    const members = nodes.filter((_, index) => (set & (1 << index)) !== 0);
    let fastest: Pipeline | null = null;
    for (const partition of PARTITIONS[members.length] ?? []) {
      if (partition.length > card.layerCount || (stages !== 'auto' && partition.length !== stages)) continue;
      const groups = partition.map((indices) => membersAt(members, indices));
      const pipeline = formInBestOrder(card, groups, network);
      if (pipeline === null) continue;
      candidates.push({ set, pipeline });
      if (fastest === null || pipeline.tokensPerSecond > fastest.tokensPerSecond) fastest = pipeline;
    }
    bestOf.push(bestDivision(set, bestOf, fastest));
  }

  let best: readonly Pipeline[] = [];
  let bestScore = 0;
  for (const { set, pipeline } of candidates) {
    const others = stages === 'auto' ? (bestOf[setCount - 1 - set]?.pipelines ?? []) : [];
    const pipelines = [pipeline, ...others];
    const score = scoreOf(pipelines);
    if (score > bestScore) [best, bestScore] = [pipelines, score];
  }
  return best;
}

/** The highest throughput of a set: as one pipeline, without one of its nodes, or as two smaller sets. */
function bestDivision(set: number, bestOf: readonly Best[], whole: Pipeline | null): Best {
  const lowest = set & -set;
  let best = bestOf[set ^ lowest] ?? { tokensPerSecond: 0, pipelines: [] };
  if (whole !== null && whole.tokensPerSecond > best.tokensPerSecond) {
    best = { tokensPerSecond: whole.tokensPerSecond, pipelines: [whole] };
  }
  for (let part = (set - 1) & set; part > 0; part = (part - 1) & set) {
    if ((part & lowest) === 0) continue;
    const [a, b] = [bestOf[part], bestOf[set ^ part]];
    if (a === undefined || b === undefined) continue;
    const tokensPerSecond = a.tokensPerSecond + b.tokensPerSecond;
    if (tokensPerSecond > best.tokensPerSecond) {
      best = { tokensPerSecond, pipelines: [...a.pipelines, ...b.pipelines] };
    }
  }
  return best;
}

function membersAt(members: readonly SchedulerNode[], indices: readonly number[]): Group {
  const group: SchedulerNode[] = [];
  for (const index of indices) {
    const member = members[index];
    if (member !== undefined) group.push(member);
  }
  return group;
}

/** Every way to divide these into groups, each a list of indices; who comes first stays first. */
function partitionsOf(indices: readonly number[]): readonly (readonly number[])[][] {
  const [first, ...rest] = indices;
  if (first === undefined) return [[]];
  return partitionsOf(rest).flatMap((groups) => [
    [[first], ...groups],
    ...groups.map((joined) => [[first, ...joined], ...groups.filter((group) => group !== joined)]),
  ]);
}

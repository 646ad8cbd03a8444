import * as fc from 'fast-check';
import type { ModelId, PeerId } from '../../../../src/protocol/ids.ts';
import type { Capability, ModelCard } from '../../../../src/protocol/signaling.ts';
import { CACHE_RESERVE_TOKENS } from '../../../../src/protocol/limits.ts';
import { ONE_REGION } from '../../../../signaling/scheduler/network.ts';
import type {
  Assignment,
  LayerRange,
  PlacementInput,
  SchedulerNode,
  StagePolicy,
} from '../../../../signaling/scheduler/types.ts';

export const MODEL = 'model' as ModelId;
/** Bytes of one layer with its cache reserve on a `card()`: 1000 of weights and as much cache. */
export const LAYER_BYTES = 2000;

export function peerId(index: number): PeerId {
  return index.toString(16).padStart(32, '0') as PeerId;
}

/** A model of 8 layers of 2000 bytes each, without embedding or head, unless told otherwise. */
export function card(overrides: Partial<ModelCard> = {}): ModelCard {
  return {
    id: MODEL,
    url: '/models/model/',
    quantization: 'none',
    cache: 'f32',
    activations: 'f32',
    layerCount: 8,
    hiddenSize: 64,
    contextLength: 4096,
    bytesPerLayer: 1000,
    embeddingBytes: 0,
    headBytes: 0,
    multiplyAddsPerLayer: 500,
    headMultiplyAdds: 0,
    cacheBytesPerTokenPerLayer: 1000 / CACHE_RESERVE_TOKENS,
    ...overrides,
  };
}

export function node(index: number, capability: Partial<Capability> = {}): SchedulerNode {
  return {
    peer: peerId(index),
    capability: {
      memoryBytes: 1e9,
      matvecBytesPerSecond: 1000,
      matmulFlopsPerSecond: 1e6,
      adapter: 'test',
      ...capability,
    },
    region: 0,
    cached: [],
  };
}

/** Of one token of the vocabulary, in all rows that a head answers at once. */
const LOGIT_BYTES = 4 * 128;

function vocabularyOf({ headMultiplyAdds, hiddenSize }: ModelCard): number {
  return headMultiplyAdds / hiddenSize;
}

/** What a slice takes, reckoned apart from the code under test. */
export function neededBytes(model: ModelCard, { layerStart, layerEnd }: LayerRange): number {
  let bytes = (layerEnd - layerStart) * LAYER_BYTES;
  if (layerStart === 0) bytes += model.embeddingBytes;
  if (layerEnd === model.layerCount) bytes += model.headBytes + LOGIT_BYTES * vocabularyOf(model);
  return bytes;
}

/** Room for this many layers, and nothing else. */
export function nodeForLayers(index: number, layers: number): SchedulerNode {
  return node(index, { memoryBytes: layers * LAYER_BYTES });
}

export function slice(layerStart: number, layerEnd: number, model: ModelId = MODEL): Assignment {
  return { model, layerStart, layerEnd };
}

export function currentOf(...entries: (readonly [SchedulerNode, LayerRange])[]): Map<PeerId, Assignment> {
  return new Map(entries.map(([{ peer }, { layerStart, layerEnd }]) => [peer, slice(layerStart, layerEnd)]));
}

export const cards: fc.Arbitrary<ModelCard> = fc
  .record({
    layerCount: fc.integer({ min: 1, max: 12 }),
    embeddingBytes: fc.integer({ min: 0, max: 6000 }),
    headBytes: fc.integer({ min: 0, max: 6000 }),
  })
  .map(card);

/** One to three models of different names. */
export const cardLists: fc.Arbitrary<ModelCard[]> = fc
  .array(cards, { minLength: 1, maxLength: 3 })
  .map((list) => list.map((model, index) => ({ ...model, id: `model-${index}` as ModelId })));

export const stagePolicies: fc.Arbitrary<StagePolicy> = fc.oneof(
  fc.constant('auto' as const),
  fc.integer({ min: 1, max: 4 }),
);

/** Peers from too small for one layer to roomy enough for everything, slow and fast. */
export const nodeLists: fc.Arbitrary<SchedulerNode[]> = fc
  .array(
    fc.record({
      memoryBytes: fc.integer({ min: 1, max: 40_000 }),
      matvecBytesPerSecond: fc.integer({ min: 1, max: 100 }),
      matmulFlopsPerSecond: fc.integer({ min: 1, max: 1000 }),
    }),
    { maxLength: 7 },
  )
  .map((capabilities) => capabilities.map((capability, index) => node(index, capability)));

/** Inputs whose `current` is arbitrary: overlapping slices, holes, peers that left, slices that do not fit. */
export const placementInputs: fc.Arbitrary<PlacementInput> = fc
  .record({
    card: cards,
    nodes: nodeLists,
    stages: stagePolicies,
    held: fc.array(fc.tuple(fc.nat(9), fc.nat(12), fc.nat(12))),
  })
  .map(({ card: model, nodes, stages, held }) => ({
    models: [model],
    nodes,
    stages,
    network: ONE_REGION,
    current: new Map(
      held
        .filter(([, a, b]) => a !== b)
        .map(([index, a, b]) => [peerId(index), slice(Math.min(a, b), Math.max(a, b))] as const),
    ),
  }));

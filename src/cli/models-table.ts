import type { MeshView } from '../mesh/mesh-connection.ts';
import type { ModelId, PeerId } from '../protocol/ids.ts';
import type { MeshMember, ModelCard } from '../protocol/signaling.ts';
import { maxSequenceTokens } from '../protocol/slice-bytes.ts';
import { table } from './table.ts';

const BYTES_PER_MB = 1_000_000;
const BYTES_PER_GB = 1_000_000_000;

/** What is told of a model that a server offers. */
export interface ModelLine {
  readonly id: ModelId;
  readonly layerCount: number;
  /** Of the weights as stages hold them. */
  readonly sizeBytes: number;
  /** Tokens that the model attends to, and those that one conversation may have on this mesh. */
  readonly contextLength: number;
  readonly conversationTokens: number;
  readonly quantization: ModelCard['quantization'];
  readonly cache: ModelCard['cache'];
  readonly activations: ModelCard['activations'];
  /** Whether it can answer now: every layer is served, and the slices fit together. */
  readonly isWhole: boolean;
  /** How many serve each layer, from the first to the last. */
  readonly peersPerLayer: readonly number[];
  readonly holders: readonly Holder[];
}

/** `[layerStart, layerEnd)`. */
interface Holder {
  readonly peer: PeerId;
  readonly layerStart: number;
  readonly layerEnd: number;
  readonly state: MeshMember['state'];
  readonly adapter: string;
}

export function modelLines(cards: readonly ModelCard[], { members, covered }: MeshView): ModelLine[] {
  return cards.map((card) => {
    const { id, layerCount, contextLength, quantization, cache, activations } = card;
    const holders = members.filter(({ model }) => model === id);
    const serving = holders.filter(({ state }) => state === 'serving');
    return {
      id,
      layerCount,
      sizeBytes: card.bytesPerLayer * layerCount + card.embeddingBytes + card.headBytes,
      contextLength,
      conversationTokens: maxSequenceTokens(card),
      quantization,
      cache,
      activations,
      isWhole: covered.includes(id),
      peersPerLayer: Array.from(
        { length: layerCount },
        (_, layer) =>
          serving.filter(({ layerStart, layerEnd }) => layerStart <= layer && layer < layerEnd).length,
      ),
      holders: holders.map(({ peer, layerStart, layerEnd, state, adapter }) => {
        return { peer, layerStart, layerEnd, state, adapter };
      }),
    };
  });
}

/** For people. */
export function modelsTable(lines: readonly ModelLine[]): string {
  if (lines.length === 0) return 'The server offers no models.';
  const names = ['MODEL', 'LAYERS', 'SIZE', 'CONTEXT', 'WEIGHTS', 'CACHE', 'ANSWERS', 'PEERS PER LAYER'];
  const rows = lines.map((line) => [
    line.id,
    String(line.layerCount),
    sizeWords(line.sizeBytes),
    line.conversationTokens < line.contextLength
      ? `${line.conversationTokens} of ${line.contextLength}`
      : String(line.contextLength),
    line.quantization === 'none' ? 'as stored' : line.quantization,
    line.cache,
    line.isWhole ? 'yes' : 'no',
    peersWords(line.peersPerLayer),
  ]);
  return table(names, rows);
}

function sizeWords(bytes: number): string {
  const [value, unit] = bytes < BYTES_PER_GB ? [bytes / BYTES_PER_MB, 'MB'] : [bytes / BYTES_PER_GB, 'GB'];
  return `${value.toFixed(1)} ${unit}`;
}

/** Layers in a row with as many peers are one: `0–3: 2, 4–7: 1`. */
function peersWords(counts: readonly number[]): string {
  const runs: { readonly start: number; end: number; readonly count: number }[] = [];
  for (const [layer, count] of counts.entries()) {
    const last = runs.at(-1);
    if (last?.count === count) last.end = layer;
    else runs.push({ start: layer, end: layer, count });
  }
  return runs
    .map(({ start, end, count }) => `${start === end ? String(start) : `${start}–${end}`}: ${count}`)
    .join(', ');
}

import type { ModelId, PeerId } from '../../protocol/ids.ts';
import type { Quantization } from '../../protocol/quantization.ts';

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;
const SHORT_PEER_LENGTH = 6;

/** Decimal units with three significant digits: `712 kB`, `4.02 GB`. */
export function formatBytes(sizeBytes: number): string {
  let value = sizeBytes;
  let unit = 0;
  // Rounded first: 999.7 kB reads better as 1.00 MB than as 1000 kB.
  while (Math.round(value) >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value.toFixed(0) : significant(value)} ${UNITS[unit] ?? 'B'}`;
}

/** `0.42 s`, `12.3 s`. */
export function formatSeconds(durationMs: number): string {
  return `${significant(durationMs / 1000)} s`;
}

/** `14.2 tokens/s`. */
export function formatTokenRate(tokensPerSecond: number): string {
  return `${significant(tokensPerSecond)} tokens/s`;
}

/** Layers `[layerStart, layerEnd)` as people count ranges: `layers 0–3`, `layer 7`. */
export function formatLayers(layerStart: number, layerEnd: number): string {
  return layerEnd - layerStart === 1 ? `layer ${layerStart}` : `layers ${layerStart}–${layerEnd - 1}`;
}

/** `Qwen3-4B`, or `Qwen3-4B (int4)` where the tabs quantise it. */
export function formatModel(model: ModelId, quantization: Quantization): string {
  return quantization === 'none' ? model : `${model} (${quantization})`;
}

/** Enough of an id to tell the tabs of a mesh apart. */
export function shortPeer(peer: PeerId): string {
  return peer.slice(0, SHORT_PEER_LENGTH);
}

/** `1 tab`, `3 tabs`. */
export function countOf(count: number, singular: string, plural = `${singular}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? singular : plural}`;
}

/** Three digits, so that a number does not jump in width while it changes. */
function significant(value: number): string {
  if (value === 0) return '0';
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

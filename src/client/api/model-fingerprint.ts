import { sha256 } from '@noble/hashes/sha2.js';
import type { ModelCard } from '../../protocol/signaling.ts';

const SHOWN_BYTES = 5;

/** Names what decides about an answer beside the question: where the weights come from, and how stages keep and use them. */
export function modelFingerprint({ id, url, quantization, cache, activations }: ModelCard): string {
  const digest = sha256(
    new TextEncoder().encode(JSON.stringify([id, url, quantization, cache, activations])),
  );
  return `fp_${Array.from(digest.subarray(0, SHOWN_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import type { OpenRequest } from '../protocol/stage.ts';

const SCOPE_BYTES = 16;

/**
 * Under what a hop keeps and finds cached blocks: the requester, and the way that rows took up to here. What is cached was
 * computed from what those peers sent, and a later request finds it only when it relies on the very same ones. Without the
 * way, a hop that lies about its requester could leave wrong blocks behind itself for a route that it has no part in.
 * @returns 32 lower-case hex characters.
 */
export function cacheScope({ requester, route }: OpenRequest, hopIndex: number): string {
  const way = route.hops
    .slice(0, hopIndex)
    .map(({ peer, layerStart, layerEnd }) => [peer, layerStart, layerEnd]);
  const digest = sha256(utf8ToBytes(JSON.stringify([requester, way])));
  return bytesToHex(digest.subarray(0, SCOPE_BYTES));
}

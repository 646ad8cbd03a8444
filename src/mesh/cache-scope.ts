import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import type { RequestId } from '../protocol/ids.ts';
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
  return hashOf([requester, way]);
}

/**
 * Under what a hop keeps what it has of a request while it goes over from one way to another. It was computed from what peers of the
 * old way sent, so nobody who relies on the new one alone may find it, and nobody who relies on the old one alone what is
 * computed after it: it is of this request only, and goes with it.
 * @param oldScope may be private itself.
 */
export function privateScope(requestId: RequestId, oldScope: string, newScope: string): string {
  return hashOf([requestId, oldScope, newScope]);
}

function hashOf(value: unknown): string {
  const digest = sha256(utf8ToBytes(JSON.stringify(value)));
  return bytesToHex(digest.subarray(0, SCOPE_BYTES));
}

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A tab or process on the mesh. Given out by the server; 32 lowercase hex digits. */
export type PeerId = Brand<string, 'PeerId'>;
/** One generation. Chosen by the requester; 16 lowercase hex digits, 8 bytes in a frame. */
export type RequestId = Brand<string, 'RequestId'>;
/** A model the mesh serves, as the operator named it (for example `skein-tiny`). */
export type ModelId = Brand<string, 'ModelId'>;

export const PEER_ID_PATTERN = /^[0-9a-f]{32}$/;
export const REQUEST_ID_PATTERN = /^[0-9a-f]{16}$/;

/** @param random fills the given bytes; injected so that tests can repeat a run. */
export function newRequestId(random: (bytes: Uint8Array<ArrayBuffer>) => void = fillRandom): RequestId {
  return randomHex(8, random) as RequestId;
}

export function newPeerId(random: (bytes: Uint8Array<ArrayBuffer>) => void = fillRandom): PeerId {
  return randomHex(16, random) as PeerId;
}

function fillRandom(bytes: Uint8Array<ArrayBuffer>): void {
  crypto.getRandomValues(bytes);
}

function randomHex(sizeBytes: number, random: (bytes: Uint8Array<ArrayBuffer>) => void): string {
  const bytes = new Uint8Array(sizeBytes);
  random(bytes);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js';
import { SkeinError } from './errors.ts';

/** Routes that one request may take. More than an answer of any length needs, and few enough to hash. */
export const MAX_EPOCHS = 1024;
const KEY_BYTES = 16;

/**
 * The keys of a request's epochs: each is half the SHA-256 of the next, so whoever knows one knows those before it and none after
 * it. A hop of an earlier route, who saw its key, cannot open the request at a later epoch, as if the requester had left that route.
 */
export class EpochKeys {
  /** The key of the last epoch first. */
  readonly #keys: string[];

  /** @param last the key of the last epoch, 16 bytes that nobody can guess. */
  constructor(last: Uint8Array = crypto.getRandomValues(new Uint8Array(KEY_BYTES))) {
    this.#keys = [bytesToHex(last)];
  }

  /** 32 lower-case hex characters. @throws SkeinError `bad-argument` from MAX_EPOCHS on. */
  at(epoch: number): string {
    const index = MAX_EPOCHS - 1 - epoch;
    for (
      let last = this.#keys.at(-1);
      last !== undefined && this.#keys.length <= index;
      last = this.#keys.at(-1)
    ) {
      this.#keys.push(keyBefore(last));
    }
    const key = this.#keys[index];
    if (key !== undefined) return key;
    throw new SkeinError(
      'bad-argument',
      `Epoch ${epoch} is over ${MAX_EPOCHS - 1}. Ask again, as another request.`,
    );
  }
}

/** Whether a request that was opened with one key is opened again by whom it is from. */
export function isLaterKey(
  older: { readonly epoch: number; readonly key: string },
  newer: { readonly epoch: number; readonly key: string },
): boolean {
  const steps = newer.epoch - older.epoch;
  if (steps < 1 || steps >= MAX_EPOCHS) return false;
  let { key } = newer;
  for (let step = 0; step < steps; step += 1) key = keyBefore(key);
  return key === older.key;
}

function keyBefore(key: string): string {
  return bytesToHex(sha256(hexToBytes(key)).subarray(0, KEY_BYTES));
}

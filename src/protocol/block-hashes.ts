import { sha256 } from '@noble/hashes/sha2.js';
import type { ModelId } from './ids.ts';
import { MAX_BLOCK_HASHES } from './limits.ts';
import { BLOCK_TOKENS } from './stage.ts';

/** 128 bits of each digest are kept: no two prefixes of one requester meet by chance. */
export const BLOCK_HASH_BYTES = 16;
const BYTES_PER_TOKEN_ID = 4;

/**
 * Names the full blocks of a growing sequence, so that stages find equal prefixes without seeing a token: the hash of a
 * block is SHA-256 over the hash before it and the block's token ids (u32, little-endian), cut to 128 bits. Before the
 * first stands the hash of the model's name (UTF-8). So two hashes are equal exactly where everything up to there is.
 */
export class BlockHashChain {
  /** The hash before the open block, and the ids of that block as far as they came. */
  readonly #input = new Uint8Array(BLOCK_HASH_BYTES + BLOCK_TOKENS * BYTES_PER_TOKEN_ID);
  readonly #view = new DataView(this.#input.buffer);
  readonly #hashes: string[] = [];
  #tokenCount = 0;

  constructor(model: ModelId) {
    this.#input.set(shortHash(new TextEncoder().encode(model)));
  }

  /** Tokens appended so far. */
  get tokenCount(): number {
    return this.#tokenCount;
  }

  /** Of every full block, 32 lower-case hex characters each; those beyond MAX_BLOCK_HASHES are not named. */
  get hashes(): readonly string[] {
    return this.#hashes;
  }

  /** @param tokenIds u32, the next tokens of the sequence. */
  append(tokenIds: Iterable<number>): void {
    for (const tokenId of tokenIds) {
      const slot = this.#tokenCount % BLOCK_TOKENS;
      this.#view.setUint32(BLOCK_HASH_BYTES + slot * BYTES_PER_TOKEN_ID, tokenId, true);
      this.#tokenCount += 1;
      if (slot === BLOCK_TOKENS - 1 && this.#hashes.length < MAX_BLOCK_HASHES) this.#closeBlock();
    }
  }

  #closeBlock(): void {
    const hash = shortHash(this.#input);
    this.#input.set(hash);
    this.#hashes.push(hexOf(hash));
  }
}

function shortHash(bytes: Uint8Array): Uint8Array {
  return sha256(bytes).subarray(0, BLOCK_HASH_BYTES);
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

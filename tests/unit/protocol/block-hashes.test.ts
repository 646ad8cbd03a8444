import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockHashChain } from '../../../src/protocol/block-hashes.ts';
import type { ModelId } from '../../../src/protocol/ids.ts';
import { MAX_BLOCK_HASHES } from '../../../src/protocol/limits.ts';
import { BLOCK_TOKENS } from '../../../src/protocol/stage.ts';

const MODEL = 'modèle' as ModelId;

function hashesOf(tokenIds: readonly number[], model = MODEL): readonly string[] {
  const chain = new BlockHashChain(model);
  chain.append(tokenIds);
  return chain.hashes;
}

/** The definition, written down a second time with another SHA-256. */
function expectedHashes(tokenIds: readonly number[], model: string): string[] {
  const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest().subarray(0, 16);
  let previous = hash(Buffer.from(model, 'utf8'));
  return Array.from({ length: Math.floor(tokenIds.length / 16) }, (_, block) => {
    const ids = Buffer.alloc(64);
    tokenIds.slice(block * 16, block * 16 + 16).forEach((id, index) => ids.writeUInt32LE(id, index * 4));
    previous = hash(Buffer.concat([previous, ids]));
    return previous.toString('hex');
  });
}

/** Few different ids, so that equal blocks at different places are common. */
const anyTokens = fc.array(fc.constantFrom(0, 1, 255, 256, 65_536, 0xffff_ffff), { maxLength: 100 });
const countTo = (count: number) => Array.from({ length: count }, (_, index) => index);

describe('block hashes', () => {
  it('are SHA-256 over the hash before and the ids, as another implementation has it', () => {
    fc.assert(
      fc.property(anyTokens, fc.string({ minLength: 1, maxLength: 40 }), (tokenIds, model) => {
        expect(hashesOf(tokenIds, model as ModelId)).toEqual(expectedHashes(tokenIds, model));
      }),
      { numRuns: 300 },
    );
  });

  it('have the documented value', () => {
    expect(hashesOf(countTo(32), 'skein-tiny' as ModelId)).toEqual([
      '0955e6f051bc5c155a564d9e2fcdbf26',
      'b7daff7b0ca02084f8a49ac6120d7ea2',
    ]);
  });

  it('are equal as far as the tokens are, and nowhere after', () => {
    fc.assert(
      fc.property(anyTokens, anyTokens, anyTokens, (shared, one, other) => {
        const [left, right] = [
          [...shared, ...one],
          [...shared, ...other],
        ];
        const [leftHashes, rightHashes] = [hashesOf(left), hashesOf(right)];
        const differs = left.findIndex((id, index) => id !== right[index]);
        const equalTokens = differs === -1 ? Math.min(left.length, right.length) : differs;
        const equalBlocks = Math.min(
          Math.floor(equalTokens / BLOCK_TOKENS),
          leftHashes.length,
          rightHashes.length,
        );
        expect(leftHashes.slice(0, equalBlocks)).toEqual(rightHashes.slice(0, equalBlocks));
        const rest = new Set(rightHashes.slice(equalBlocks));
        expect(leftHashes.slice(equalBlocks).filter((hash) => rest.has(hash))).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });

  it('know the order of tokens and of blocks, and the model', () => {
    const tokens = countTo(48);
    const swapped = [1, 0, ...tokens.slice(2)];
    const turned = [...tokens.slice(16, 32), ...tokens.slice(0, 16), ...tokens.slice(32)];
    const all = [hashesOf(tokens), hashesOf(swapped), hashesOf(turned), hashesOf(tokens, 'm' as ModelId)];
    expect(new Set(all.flat()).size).toBe(12);
  });

  it('do not depend on the pieces in which tokens come, and name full blocks only', () => {
    fc.assert(
      fc.property(fc.array(anyTokens, { maxLength: 5 }), (pieces) => {
        const chain = new BlockHashChain(MODEL);
        for (const piece of pieces) chain.append(piece);
        const whole = pieces.flat();
        expect(chain.hashes).toEqual(hashesOf(whole));
        expect(chain.hashes.length).toBe(Math.floor(whole.length / BLOCK_TOKENS));
        expect(chain.tokenCount).toBe(whole.length);
      }),
    );
  });

  it('end where a request may name no more, and count on', () => {
    const chain = new BlockHashChain(MODEL);
    const tokens = countTo((MAX_BLOCK_HASHES + 2) * BLOCK_TOKENS);
    chain.append(tokens);
    expect(chain.hashes.length).toBe(MAX_BLOCK_HASHES);
    expect(chain.tokenCount).toBe(tokens.length);
    expect(chain.hashes.at(-1)).toBe(expectedHashes(tokens, MODEL)[MAX_BLOCK_HASHES - 1]);
  });
});

import { expect, it } from 'vitest';
import { BlockManager } from '../../../src/engine/block-manager.ts';
import { Sequence } from '../../../src/engine/sequence.ts';
import { hashesOf, openRequest, requestId } from './executor-route.ts';

it('is admitted with what it was planned with, whatever came into the cache since', () => {
  const blocks = new BlockManager(8);
  const prompt = Array.from({ length: 48 }, (_, index) => index);
  const blockHashes = hashesOf(prompt);
  const sequence = new Sequence(openRequest(requestId(1), 48, 4, { blockHashes }), 0, blocks, 'scope', null);
  sequence.append(0, { kind: 'tokens', tokenIds: Uint32Array.from(prompt) });
  sequence.admit(0);
  sequence.extend(40);
  sequence.commit(40);
  sequence.preempt();
  expect(sequence.plannable(0, 0)).toMatchObject({ cacheLength: 32, pendingRows: 8, phase: 'prefill' });
  blocks.evict(1);
  expect(sequence.plannable(0, 0)).toMatchObject({ cacheLength: 16, pendingRows: 24 });
  const other = blocks.open();
  blocks.extend(other, 0, 16);
  blocks.register(other, 0, `scope:${blockHashes[1] ?? ''}`);
  expect(sequence.plannable(0, 0)).toMatchObject({ cacheLength: 32 });
  sequence.admit(16);
  expect(sequence.cacheLength).toBe(16);
  expect(sequence.plannable(0, 0)).toMatchObject({ cacheLength: 16, pendingRows: 24, isResident: true });
});

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { jsonDepth } from '../../../src/protocol/json-depth.ts';
import { MAX_SIGNALING_DEPTH } from '../../../src/protocol/limits.ts';
import { decodeClientMessage } from '../../../src/protocol/signaling.ts';

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

function signal(depth: number): string {
  const to = 'a'.repeat(32);
  return `{"type":"signal","to":"${to}","data":${'['.repeat(depth)}${']'.repeat(depth)}}`;
}

it('is that of the value, whatever its texts say', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(jsonDepth(JSON.stringify(value))).toBe(depthOf(value));
    }),
  );
  expect(jsonDepth('["[[[", "\\"[[", {"{": 1}]')).toBe(2);
});

it('is limited in signaling messages, which are relayed as they are', () => {
  expect(() => decodeClientMessage(signal(MAX_SIGNALING_DEPTH - 1))).not.toThrow();
  for (const depth of [MAX_SIGNALING_DEPTH, 20_000]) {
    expect(() => decodeClientMessage(signal(depth))).toThrow(SkeinError);
    expect(() => decodeClientMessage(signal(depth))).toThrow('nested');
  }
});

import { expect, it } from 'vitest';
import {
  MIN_LINK_BYTES_PER_SECOND,
  MIN_MATMUL_FLOPS_PER_SECOND,
  MIN_MATVEC_BYTES_PER_SECOND,
  MIN_MEMORY_BYTES,
} from '../../../src/protocol/limits.ts';
import { decodeClientMessage } from '../../../src/protocol/signaling.ts';

const LEAST = {
  memoryBytes: MIN_MEMORY_BYTES,
  matvecBytesPerSecond: MIN_MATVEC_BYTES_PER_SECOND,
  matmulFlopsPerSecond: MIN_MATMUL_FLOPS_PER_SECOND,
  adapter: 'test',
};

function join(changes: Partial<typeof LEAST>) {
  return decodeClientMessage(
    JSON.stringify({ type: 'join', capability: { ...LEAST, ...changes }, cached: [] }),
  );
}

it('takes the least device there may be, and none that claims less', () => {
  expect(join({})).toMatchObject({ capability: LEAST });
  for (const field of ['memoryBytes', 'matvecBytesPerSecond', 'matmulFlopsPerSecond'] as const) {
    expect(() => join({ [field]: LEAST[field] * 0.999 })).toThrow(`capability.${field}`);
    expect(() => join({ [field]: 5e-324 })).toThrow(`capability.${field}`);
  }
});

it('takes no link so slow that nothing would ever arrive', () => {
  const report = (bytesPerSecond: number) =>
    decodeClientMessage(
      JSON.stringify({
        type: 'report',
        stage: null,
        links: [{ peer: '0'.repeat(32), rttSeconds: 0.01, bytesPerSecond }],
      }),
    );
  expect(report(MIN_LINK_BYTES_PER_SECOND).type).toBe('report');
  expect(() => report(5e-324)).toThrow('bytesPerSecond');
});

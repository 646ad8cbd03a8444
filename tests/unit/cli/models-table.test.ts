import { describe, expect, it } from 'vitest';
import { modelLines, modelsTable } from '../../../src/cli/models-table.ts';
import { table } from '../../../src/cli/table.ts';
import type { ModelId } from '../../../src/protocol/ids.ts';
import { CACHE_RESERVE_TOKENS } from '../../../src/protocol/limits.ts';
import type { MeshMember } from '../../../src/protocol/signaling.ts';
import { card, peerId } from '../signaling/scheduler/instances.ts';

const MODEL = 'model' as ModelId;
const OTHER = 'other' as ModelId;

function member(index: number, layerStart: number, layerEnd: number, changes: Partial<MeshMember> = {}) {
  return {
    peer: peerId(index),
    model: MODEL,
    layerStart,
    layerEnd,
    state: 'serving',
    adapter: 'GPU',
    ...changes,
  } as const;
}

describe('what is told of models', () => {
  const members = [
    member(1, 0, 4),
    member(2, 0, 4),
    member(3, 4, 8),
    member(4, 4, 8, { state: 'loading' }),
    member(5, 4, 8, { state: 'suspect' }),
    member(6, 0, 8, { model: OTHER }),
  ];
  const cards = [
    card({ embeddingBytes: 500, headBytes: 1500 }),
    card({ id: OTHER, contextLength: 512, quantization: 'int4', cache: 'f16' }),
  ];
  const lines = modelLines(cards, { members, covered: [MODEL] });

  it('counts who serves each layer of it, and nobody else', () => {
    expect(lines.map(({ peersPerLayer }) => peersPerLayer)).toEqual([
      [2, 2, 2, 2, 1, 1, 1, 1],
      [1, 1, 1, 1, 1, 1, 1, 1],
    ]);
    expect(lines[0]?.holders).toHaveLength(5);
    expect(lines[0]?.holders[3]).toEqual({
      peer: peerId(4),
      layerStart: 4,
      layerEnd: 8,
      state: 'loading',
      adapter: 'GPU',
    });
  });

  it('is its size with both ends, its formats, and whether it answers', () => {
    expect(lines[0]).toMatchObject({ sizeBytes: 10_000, isWhole: true, layerCount: 8, quantization: 'none' });
    expect(lines[1]).toMatchObject({ isWhole: false, conversationTokens: 512, contextLength: 512 });
    expect(lines[0]).toMatchObject({ conversationTokens: CACHE_RESERVE_TOKENS, contextLength: 4096 });
  });

  it('is a table for people', () => {
    expect(modelsTable(lines).split('\n')).toEqual([
      'MODEL  LAYERS  SIZE    CONTEXT       WEIGHTS    CACHE  ANSWERS  PEERS PER LAYER',
      'model  8       0.0 MB  2048 of 4096  as stored  f32    yes      0–3: 2, 4–7: 1',
      'other  8       0.0 MB  512           int4       f16    no       0–7: 1',
    ]);
    expect(modelsTable([])).toBe('The server offers no models.');
  });
});

describe('a table', () => {
  it('has columns as wide as their widest cell', () => {
    expect(
      table(
        ['A', 'B'],
        [
          ['long', ''],
          ['x', 'y'],
        ],
      ),
    ).toBe('A     B\nlong\nx     y');
  });
});

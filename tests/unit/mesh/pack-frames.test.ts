import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packActivations, packSequences } from '../../../src/mesh/pack-frames.ts';
import { decodeFrame, encodeFrame } from '../../../src/protocol/frame-codec.ts';
import type { ActivationFormat } from '../../../src/protocol/frames.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { MAX_FRAME_ROWS, MAX_FRAME_SEQUENCES } from '../../../src/protocol/limits.ts';
import { peerId, requestId } from './local-mesh.ts';

/** A part whose every value tells the position of its row. */
function rowsOf(to: PeerId, index: number, position: number, rows: number, hiddenSize: number) {
  const values = Float32Array.from(
    { length: rows * hiddenSize },
    (_, at) => position + Math.floor(at / hiddenSize),
  );
  return {
    to,
    format: 'f16' as ActivationFormat,
    part: { requestId: requestId(index), epoch: 0, position, rows, values },
  };
}

/** What arrives: of each frame its receiver, and of each row its request and position, with its first value. */
function travel(parts: readonly ReturnType<typeof rowsOf>[]) {
  return packActivations(parts).map(({ to, frame, format }) => {
    const decoded = decodeFrame(encodeFrame(frame, 'f32'));
    if (decoded.type !== 'activations') throw new Error(`became ${decoded.type}`);
    const rows = decoded.sequences.flatMap((sequence) =>
      Array.from({ length: sequence.rows }, (_, row) => ({
        id: sequence.requestId,
        position: sequence.position + row,
        value: sequence.values[row * decoded.hiddenSize],
      })),
    );
    return { to, format, sequences: decoded.sequences.length, rows };
  });
}

describe('packing activations', () => {
  it('makes one frame for each next peer', () => {
    const parts = [1, 2, 3, 4].map((index) => rowsOf(peerId(index % 2), index, 7, 2, 3));
    expect(travel(parts).map(({ to, sequences }) => [to, sequences])).toEqual([
      [peerId(1), 2],
      [peerId(0), 2],
    ]);
  });

  it('makes frames of their own for rows that travel otherwise', () => {
    const parts = [1, 2, 3, 4].map((index) => {
      const format: ActivationFormat = index === 2 ? 'f32' : 'f16';
      return { ...rowsOf(peerId(1), index, 7, 2, 3), format };
    });
    expect(travel(parts).map(({ format, sequences }) => [format, sequences])).toEqual([
      ['f16', 3],
      ['f32', 1],
    ]);
  });

  it('keeps to the rows and the sequences that a frame may have', () => {
    const many = Array.from({ length: MAX_FRAME_SEQUENCES + 1 }, (_, index) =>
      rowsOf(peerId(1), index, 0, 1, 1),
    );
    expect(travel(many).map(({ sequences }) => sequences)).toEqual([MAX_FRAME_SEQUENCES, 1]);
    const tall = [3000, 3000, 1000].map((rows, index) => rowsOf(peerId(1), index, 0, rows, 1));
    expect(travel(tall).map(({ rows }) => rows.length)).toEqual([3000, 4000]);
  });

  it('splits a sequence that is too large for a frame, by rows or by bytes, without losing a row', () => {
    for (const [rows, hiddenSize] of [
      [MAX_FRAME_ROWS * 2 + 5, 1],
      [400, 32_768],
    ] as const) {
      const frames = travel([
        rowsOf(peerId(1), 1, 10, rows, hiddenSize),
        rowsOf(peerId(1), 2, 0, 1, hiddenSize),
      ]);
      expect(frames.length).toBeGreaterThan(2);
      const expected = Array.from({ length: rows }, (_, row) => ({
        id: requestId(1),
        position: 10 + row,
        value: 10 + row,
      }));
      const arrived = frames.flatMap((frame) => frame.rows);
      expect(arrived).toEqual([...expected, { id: requestId(2), position: 0, value: 0 }]);
    }
  });

  it('makes frames that can be sent, in order and complete, for any step', () => {
    const step = fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 5000 })), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(step, (shape) => {
        const parts = shape.map(([peer, rows], index) => rowsOf(peerId(peer), index, index, rows, 1));
        const frames = travel(parts);
        for (const { to, part } of parts) {
          const arrived = frames
            .filter((frame) => frame.to === to)
            .flatMap(({ rows }) => rows.filter(({ id }) => id === part.requestId));
          expect(arrived.map(({ position }) => position)).toEqual([...part.values]);
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('packing tokens', () => {
  it('makes one frame for each peer, and more only past the limit', () => {
    const parts = Array.from({ length: MAX_FRAME_SEQUENCES * 2 + 2 }, (_, index) => ({
      to: peerId(index % 2),
      part: {
        requestId: requestId(index),
        epoch: 0,
        position: index,
        tokenId: index,
        logProbability: -1,
        topLogProbabilities: [],
      },
    }));
    const frames = packSequences<'sampled'>(parts, (sequences) => ({ type: 'sampled', sequences }));
    const sizes = frames.map(({ to, frame }) => {
      const decoded = decodeFrame(encodeFrame(frame, 'f16'));
      return [to, decoded.type === 'sampled' && decoded.sequences.length];
    });
    expect(sizes).toEqual([
      [peerId(0), MAX_FRAME_SEQUENCES],
      [peerId(0), 1],
      [peerId(1), MAX_FRAME_SEQUENCES],
      [peerId(1), 1],
    ]);
  });
});

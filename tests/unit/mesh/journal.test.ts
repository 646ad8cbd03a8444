import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Journal, JOURNAL_PIECE_BYTES } from '../../../src/mesh/journal.ts';
import type { JournalRows } from '../../../src/mesh/journal.ts';
import { JournalShelf } from '../../../src/mesh/journal-shelf.ts';
import { decodeFrame, encodeFrame } from '../../../src/protocol/frame-codec.ts';
import { fitsHalf } from '../../../src/protocol/half.ts';
import { requestId } from './local-mesh.ts';

const HIDDEN = 3;

function rowsOf(position: number, values: readonly number[], wanted: 'f16' | 'f32' = 'f16'): JournalRows {
  const floats = Float32Array.from(values);
  return {
    position,
    rows: floats.length / HIDDEN,
    format: fitsHalf(floats) ? wanted : 'f32',
    values: floats,
  };
}

/** Rows of zeros. */
const zeros = (position: number, rows: number) => rowsOf(position, new Array<number>(rows * HIDDEN).fill(0));

/** The values that the next hop gets of these rows, by position. */
function received({ position, rows, format, values }: JournalRows): Map<number, readonly number[]> {
  const sequences = [{ requestId: requestId(1), epoch: 0, position, rows, values }];
  const frame = decodeFrame(encodeFrame({ type: 'activations', hiddenSize: HIDDEN, sequences }, format));
  if (frame.type !== 'activations') throw new Error(`became ${frame.type}`);
  const sent = frame.sequences[0]?.values ?? new Float32Array(0);
  return new Map(
    Array.from({ length: rows }, (_, row) => [
      position + row,
      [...sent.subarray(row * HIDDEN, (row + 1) * HIDDEN)],
    ]),
  );
}

function replayed(
  journal: Journal,
  from: number,
  end: number,
  maxRows: number,
): Map<number, readonly number[]> {
  const all = new Map<number, readonly number[]>();
  for (let next = from; next < end;) {
    const rows = journal.read(next, end, maxRows);
    if (rows === null) throw new Error(`there is nothing at ${next}`);
    expect(rows.rows).toBeGreaterThan(0);
    expect(rows.rows).toBeLessThanOrEqual(maxRows);
    for (const [position, values] of received(rows)) all.set(position, values);
    next += rows.rows;
  }
  return all;
}

describe('a journal', () => {
  const value = fc.oneof(
    fc.float({ min: -100, max: 100, noNaN: true }),
    // Some do not fit a half, and travel whole.
    fc.constantFrom(0, -0, 65_504, 65_505, 1e-8, -7e5),
  );
  const piece = fc
    .integer({ min: 1, max: 20 })
    .chain((rows) => fc.array(value, { minLength: rows * HIDDEN, maxLength: rows * HIDDEN }));
  const step = fc.record({
    values: piece,
    /** Where the rows begin: relative to the end; mostly right behind. */
    shift: fc.option(fc.integer({ min: -30, max: 3 }), { freq: 3 }),
    wanted: fc.constantFrom('f16', 'f32' as const),
  });

  it('gives out again the bits that were sent, whatever was sent anew in between', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 100 }),
        fc.array(step, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 16 }),
        (first, steps, maxRows) => {
          const journal = new Journal();
          let sent = new Map<number, readonly number[]>();
          let from = first;
          let end = first;
          for (const { values, shift, wanted } of steps) {
            const position = Math.max(0, end + (shift ?? 0));
            const rows = rowsOf(position, values, wanted);
            journal.append(rows);
            // What was handed over is somebody else's again.
            const now = received(rows);
            rows.values.fill(9);
            if (position < from || position > end) {
              sent = new Map();
              from = position;
            }
            for (const known of [...sent.keys()]) if (known >= position) sent.delete(known);
            for (const [at, row] of now) sent.set(at, row);
            end = position + rows.rows;
            expect([journal.from, journal.end]).toEqual([from, end]);
          }
          expect(replayed(journal, from, end, maxRows)).toEqual(sent);
          const middle = Math.floor((from + end) / 2);
          expect(replayed(journal, middle, end, maxRows)).toEqual(
            new Map([...sent].filter(([position]) => position >= middle)),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  it('has nothing before its first row, behind its last, or behind the end that is asked for', () => {
    const journal = new Journal();
    expect(journal.read(0, 10, 4)).toBeNull();
    journal.append(zeros(16, 8));
    expect(journal.read(15, 30, 4)).toBeNull();
    expect(journal.read(24, 30, 4)).toBeNull();
    expect(journal.read(20, 20, 4)).toBeNull();
    expect(journal.read(22, 23, 4)).toMatchObject({ position: 22, rows: 1 });
  });

  it('puts rows that came one by one into one reading, but not two formats', () => {
    const journal = new Journal();
    for (let position = 0; position < 8; position += 1) {
      const wanted = position < 5 ? 'f16' : 'f32';
      journal.append(rowsOf(position, [position, 0, 0], wanted));
    }
    expect(journal.read(1, 8, 64)).toMatchObject({ position: 1, rows: 4, format: 'f16' });
    expect(journal.read(5, 8, 2)).toMatchObject({ position: 5, rows: 2, format: 'f32' });
  });

  it('takes the bytes of its values, and some for each piece', () => {
    const journal = new Journal();
    journal.append(zeros(0, 10));
    expect(journal.sizeBytes).toBe(JOURNAL_PIECE_BYTES + 10 * HIDDEN * 2);
    journal.append(rowsOf(10, [1e6, 0, 0]));
    expect(journal.sizeBytes).toBe(2 * JOURNAL_PIECE_BYTES + 10 * HIDDEN * 2 + HIDDEN * 4);
    journal.truncate(4);
    expect(journal.sizeBytes).toBe(JOURNAL_PIECE_BYTES + 4 * HIDDEN * 2);
    journal.truncate(0);
    expect([journal.sizeBytes, journal.from, journal.end]).toEqual([0, 0, 0]);
  });
});

describe('the journals of a stage', () => {
  const sizeOf = (rows: number) => JOURNAL_PIECE_BYTES + rows * HIDDEN * 2;
  const ids = [1, 2, 3].map(requestId);
  const [first, second, third] = ids as [
    ReturnType<typeof requestId>,
    ReturnType<typeof requestId>,
    ReturnType<typeof requestId>,
  ];
  const have = (shelf: JournalShelf) => ids.filter((id) => shelf.find(id) !== null);

  it('make room as a whole, the one that was fed least recently first', () => {
    const shelf = new JournalShelf(3 * sizeOf(4));
    for (const id of ids) shelf.append(id, zeros(0, 4));
    expect(have(shelf)).toEqual(ids);
    shelf.append(first, rowsOf(4, [0, 0, 0]));
    expect(have(shelf)).toEqual([first, third]);
    expect(shelf.sizeBytes).toBe(2 * sizeOf(4) + sizeOf(1));
  });

  it('keep what is promised, until it is not any more', () => {
    const shelf = new JournalShelf(2 * sizeOf(4));
    shelf.append(first, zeros(0, 4));
    shelf.promise(first, true);
    shelf.append(second, zeros(0, 4));
    shelf.append(third, zeros(0, 4));
    expect(have(shelf)).toEqual([first, third]);
    shelf.promise(third, true);
    shelf.append(second, zeros(0, 4));
    expect(have(shelf)).toEqual([first, third]);
    shelf.promise(first, false);
    shelf.append(second, zeros(0, 4));
    expect(have(shelf)).toEqual([second, third]);
  });

  it('never take more than they may, whatever is sent, and count what they take', () => {
    const action = fc.record({
      id: fc.constantFrom(...ids),
      kind: fc.constantFrom('append', 'append', 'append', 'drop', 'promise', 'release'),
      position: fc.integer({ min: 0, max: 40 }),
      rows: fc.integer({ min: 1, max: 30 }),
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1500 }), fc.array(action), (maxBytes, actions) => {
        const shelf = new JournalShelf(maxBytes);
        for (const { id, kind, position, rows } of actions) {
          if (kind === 'append') shelf.append(id, zeros(position, rows));
          else if (kind === 'drop') shelf.drop(id);
          else shelf.promise(id, kind === 'promise');
          const sizes = ids.map((each) => shelf.find(each)?.sizeBytes ?? 0);
          expect(shelf.sizeBytes).toBe(sizes.reduce((sum, size) => sum + size, 0));
          expect(shelf.sizeBytes).toBeLessThanOrEqual(maxBytes);
        }
      }),
    );
  });
});

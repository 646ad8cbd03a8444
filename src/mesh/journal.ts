import type { ActivationFormat } from '../protocol/frames.ts';
import { floatsFromHalves, halvesFromFloats } from '../protocol/half.ts';
import { pieceIndexAt } from '../protocol/piece-index.ts';

/** What a piece costs beside its values; the rows of an answer come one by one. */
export const JOURNAL_PIECE_BYTES = 128;

/** Rows that were sent, or are to be sent again. */
export interface JournalRows {
  /** Of the first row. */
  readonly position: number;
  readonly rows: number;
  /** In which they travel: f16 only for values that fit. */
  readonly format: ActivationFormat;
  /** f32 [rows, hidden], row-major. */
  readonly values: Float32Array;
}

interface Piece {
  readonly position: number;
  readonly rows: number;
  /** Halves for f16, floats for f32. */
  readonly values: Uint16Array<ArrayBuffer> | Float32Array<ArrayBuffer>;
}

/**
 * Activation rows of one sequence as a stage sent them on, without a gap: what comes out of it again has the very bits that
 * the next hop was sent. A replacement of that hop is fed from here, and nobody before it computes anything again.
 */
export class Journal {
  #pieces: Piece[] = [];
  #sizeBytes = 0;

  /** Position of the first row; 0 while there is none. */
  get from(): number {
    return this.#pieces[0]?.position ?? 0;
  }

  /** Position after the last row; 0 while there is none. */
  get end(): number {
    const last = this.#pieces.at(-1);
    return last === undefined ? 0 : last.position + last.rows;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Rows from their position on replace what is here; behind a gap, or before all that is here, it begins anew with them. */
  append({ position, rows, format, values }: JournalRows): void {
    this.truncate(position < this.from || position > this.end ? 0 : position);
    this.#push({ position, rows, values: format === 'f16' ? halvesFromFloats(values) : values.slice() });
  }

  /** Forgets the rows from `position` on. */
  truncate(position: number): void {
    for (let last = this.#pieces.at(-1); last !== undefined; last = this.#pieces.at(-1)) {
      if (last.position + last.rows <= position) return;
      this.#pieces.pop();
      this.#sizeBytes -= sizeOf(last);
      const rows = position - last.position;
      if (rows > 0) this.#push({ position: last.position, rows, values: rowsOf(last, 0, rows).slice() });
    }
  }

  /** Rows from `position` on, of one format, at most `maxRows` and none from `end` on. Null when the first is not here. */
  read(position: number, end: number, maxRows: number): JournalRows | null {
    const first = pieceIndexAt(this.#pieces, position);
    const piece = this.#pieces[first];
    if (piece === undefined || position < piece.position || position >= Math.min(end, this.end)) return null;
    const format = formatOf(piece);
    const stop = Math.min(end, position + maxRows);
    const parts: Float32Array[] = [];
    let next = position;
    for (const each of this.#pieces.slice(first, first + maxRows)) {
      if (next >= stop || formatOf(each) !== format) break;
      const rows = Math.min(each.position + each.rows, stop) - next;
      parts.push(floatsOf(rowsOf(each, next - each.position, rows)));
      next += rows;
    }
    return { position, rows: next - position, format, values: concatenated(parts) };
  }

  #push(piece: Piece): void {
    this.#pieces.push(piece);
    this.#sizeBytes += sizeOf(piece);
  }
}

function formatOf({ values }: Piece): ActivationFormat {
  return values instanceof Uint16Array ? 'f16' : 'f32';
}

function sizeOf({ values }: Piece): number {
  return JOURNAL_PIECE_BYTES + values.byteLength;
}

/** A view of some rows of a piece. */
function rowsOf(piece: Piece, first: number, rows: number): Piece['values'] {
  const hiddenSize = piece.values.length / piece.rows;
  return piece.values.subarray(first * hiddenSize, (first + rows) * hiddenSize);
}

function floatsOf(values: Piece['values']): Float32Array {
  return values instanceof Uint16Array ? floatsFromHalves(values) : values;
}

function concatenated(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}

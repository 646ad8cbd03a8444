import { RECORD_SIZE } from '../protocol/frame-layout.ts';
import type { ActivationFormat, Frame } from '../protocol/frames.ts';
import type { PeerId } from '../protocol/ids.ts';
import { MAX_FRAME_BYTES, MAX_FRAME_ROWS, MAX_FRAME_SEQUENCES } from '../protocol/limits.ts';

type SequenceType = 'tokens' | 'activations' | 'sampled';
type SequenceOf<Type extends SequenceType> = Extract<Frame, { type: Type }>['sequences'][number];

/** Part of a frame, and who gets it. */
export interface Addressed<Type extends SequenceType> {
  readonly to: PeerId;
  readonly part: SequenceOf<Type>;
}

/** Rows and how they travel: never how others of their frame need to, so that it does not depend on these what arrives. */
export interface FormattedRows extends Addressed<'activations'> {
  readonly format: ActivationFormat;
}

interface OutgoingFrame {
  readonly to: PeerId;
  readonly frame: Frame;
}

const F32_BYTES = 4;
/** Bytes of a frame that are not values, at most. */
const MAX_HEAD_BYTES = 64 + MAX_FRAME_SEQUENCES * RECORD_SIZE.activations;

/** As few frames per peer as the limits allow, for parts of which any MAX_FRAME_SEQUENCES fit; a request has one part. */
export function packSequences<Type extends 'tokens' | 'sampled'>(
  parts: readonly Addressed<Type>[],
  toFrame: (sequences: SequenceOf<Type>[]) => Frame,
): OutgoingFrame[] {
  return [...byPeer(parts)].flatMap(([to, sequences]) => {
    const frameCount = Math.ceil(sequences.length / MAX_FRAME_SEQUENCES);
    return Array.from({ length: frameCount }, (_, index) => {
      const start = index * MAX_FRAME_SEQUENCES;
      return { to, frame: toFrame(sequences.slice(start, start + MAX_FRAME_SEQUENCES)) };
    });
  });
}

/**
 * As few frames per peer and format as the limits allow. Rows of one sequence that are too many for a frame are split, in order.
 * @param parts all of one hidden size; a request has one part.
 */
export function packActivations(
  parts: readonly FormattedRows[],
): (OutgoingFrame & { readonly format: ActivationFormat })[] {
  const formats = [...new Set(parts.map(({ format }) => format))];
  return formats.flatMap((format) =>
    packOneFormat(parts.filter((part) => part.format === format)).map((outgoing) => ({
      ...outgoing,
      format,
    })),
  );
}

function packOneFormat(parts: readonly Addressed<'activations'>[]): OutgoingFrame[] {
  const [first] = parts;
  if (!first) return [];
  const hiddenSize = first.part.values.length / first.part.rows;
  const rowsInBytes = Math.floor((MAX_FRAME_BYTES - MAX_HEAD_BYTES) / (hiddenSize * F32_BYTES));
  const maxRows = Math.min(MAX_FRAME_ROWS, rowsInBytes);
  return [...byPeer<'activations'>(parts)].flatMap(([to, all]) =>
    groupRows(
      all.flatMap((sequence) => splitRows(sequence, hiddenSize, maxRows)),
      maxRows,
    ).map((sequences) => ({ to, frame: { type: 'activations', hiddenSize, sequences } })),
  );
}

function groupRows(
  pieces: readonly SequenceOf<'activations'>[],
  maxRows: number,
): SequenceOf<'activations'>[][] {
  const groups: SequenceOf<'activations'>[][] = [];
  let group: SequenceOf<'activations'>[] = [];
  let rows = 0;
  for (const piece of pieces) {
    const isFull = rows + piece.rows > maxRows || group.length === MAX_FRAME_SEQUENCES;
    if (groups.length === 0 || isFull) {
      group = [];
      rows = 0;
      groups.push(group);
    }
    group.push(piece);
    rows += piece.rows;
  }
  return groups;
}

function splitRows(
  sequence: SequenceOf<'activations'>,
  hiddenSize: number,
  maxRows: number,
): SequenceOf<'activations'>[] {
  const pieces: SequenceOf<'activations'>[] = [];
  for (let start = 0; start < sequence.rows; start += maxRows) {
    const rows = Math.min(maxRows, sequence.rows - start);
    const values = sequence.values.subarray(start * hiddenSize, (start + rows) * hiddenSize);
    pieces.push({ ...sequence, position: sequence.position + start, rows, values });
  }
  return pieces;
}

function byPeer<Type extends SequenceType>(
  parts: readonly Addressed<Type>[],
): Map<PeerId, SequenceOf<Type>[]> {
  const groups = new Map<PeerId, SequenceOf<Type>[]>();
  for (const { to, part } of parts) {
    const group = groups.get(to);
    if (group) group.push(part);
    else groups.set(to, [part]);
  }
  return groups;
}

import { allFinite } from './finite.ts';
import {
  ACTIVATION_HEADER,
  BYTES_PER_TOKEN_ID,
  BYTES_PER_VALUE,
  FORMAT_CODE,
  HEADER,
  RECORD,
  RECORD_SIZE,
  TOP_ENTRY,
} from './frame-layout.ts';
import { bytesOf, checkRange, newFrame, refuse, writeRecord } from './frame-writing.ts';
import type { ActivationFormat, Frame, FrameOf, FrameSequence } from './frames.ts';
import { fitsHalf, writeHalves } from './half.ts';
import {
  MAX_FRAME_ROWS,
  MAX_FRAME_SEQUENCES,
  MAX_HIDDEN_SIZE,
  MAX_SEQUENCE_TOKENS,
  MAX_TOP_LOG_PROBABILITIES,
} from './limits.ts';
import {
  encodeBegin,
  encodeClose,
  encodeFailed,
  encodeInquire,
  encodeOpen,
  encodeOpened,
  encodeState,
} from './request-frame-encoder.ts';
import { isTopOrder } from './sampling.ts';
import type { TokenLogProbability } from './sampling.ts';

/**
 * @param format of activations; a frame with a value beyond ±65,504 is written as f32 whatever is asked.
 * @returns bytes that belong to the caller.
 * @throws SkeinError `bad-argument` for a frame that no receiver would take: over a limit, not finite, a request twice.
 */
export function encodeFrame(frame: Frame, format: ActivationFormat): Uint8Array<ArrayBuffer> {
  switch (frame.type) {
    case 'open':
      return encodeOpen(frame);
    case 'opened':
      return encodeOpened(frame);
    case 'begin':
      return encodeBegin(frame);
    case 'tokens':
      return encodeTokens(frame);
    case 'activations':
      return encodeActivations(frame, format);
    case 'sampled':
      return encodeSampled(frame);
    case 'inquire':
      return encodeInquire(frame);
    case 'state':
      return encodeState(frame);
    case 'close':
      return encodeClose(frame);
    case 'failed':
      return encodeFailed(frame);
  }
}

function encodeTokens({ sequences }: FrameOf<'tokens'>): Uint8Array<ArrayBuffer> {
  checkSequences(sequences, (sequence) => sequence.tokenIds.length, MAX_SEQUENCE_TOKENS);
  const tokenCount = sum(sequences, ({ tokenIds }) => tokenIds.length);
  const recordsEnd = HEADER.size + sequences.length * RECORD_SIZE.tokens;
  const view = newFrame('tokens', sequences.length, recordsEnd + tokenCount * BYTES_PER_TOKEN_ID);
  let target = recordsEnd;
  sequences.forEach((sequence, index) => {
    const record = HEADER.size + index * RECORD_SIZE.tokens;
    writeRecord(view, record, sequence);
    view.setUint32(record + RECORD.value, sequence.tokenIds.length, true);
    new Uint32Array(view.buffer, target, sequence.tokenIds.length).set(sequence.tokenIds);
    target += sequence.tokenIds.length * BYTES_PER_TOKEN_ID;
  });
  return bytesOf(view);
}

function encodeActivations(
  { sequences, hiddenSize }: FrameOf<'activations'>,
  wanted: ActivationFormat,
): Uint8Array<ArrayBuffer> {
  checkSequences(sequences, (sequence) => sequence.rows, MAX_FRAME_ROWS);
  checkRange('hidden size', hiddenSize, 1, MAX_HIDDEN_SIZE);
  for (const { requestId, rows, values } of sequences) {
    if (values.length !== rows * hiddenSize) {
      refuse(`Request ${requestId} has ${values.length} values for ${rows} rows of ${hiddenSize}.`);
    }
  }
  if (!sequences.every(({ values }) => allFinite(values))) refuse('Activations must be finite.');
  const format = sequences.every(({ values }) => fitsHalf(values)) ? wanted : 'f32';

  const firstRecord = HEADER.size + ACTIVATION_HEADER.size;
  const recordsEnd = firstRecord + sequences.length * RECORD_SIZE.activations;
  const valueCount = sum(sequences, ({ values }) => values.length);
  const view = newFrame('activations', sequences.length, recordsEnd + valueCount * BYTES_PER_VALUE[format]);
  view.setUint16(ACTIVATION_HEADER.hiddenSize, hiddenSize, true);
  view.setUint8(ACTIVATION_HEADER.format, FORMAT_CODE[format]);
  let target = recordsEnd;
  sequences.forEach((sequence, index) => {
    const record = firstRecord + index * RECORD_SIZE.activations;
    const { rows, values } = sequence;
    writeRecord(view, record, sequence);
    view.setUint32(record + RECORD.value, rows, true);
    if (format === 'f16') writeHalves(values, new Uint16Array(view.buffer, target, values.length));
    else new Float32Array(view.buffer, target, values.length).set(values);
    target += values.length * BYTES_PER_VALUE[format];
  });
  return bytesOf(view);
}

function encodeSampled({ sequences }: FrameOf<'sampled'>): Uint8Array<ArrayBuffer> {
  checkSequences(sequences, () => 1, MAX_FRAME_SEQUENCES);
  const topCount = sum(sequences, ({ topLogProbabilities }) => topLogProbabilities.length);
  const recordsEnd = HEADER.size + sequences.length * RECORD_SIZE.sampled;
  const view = newFrame('sampled', sequences.length, recordsEnd + topCount * TOP_ENTRY.size);
  let target = recordsEnd;
  sequences.forEach((sequence, index) => {
    const record = HEADER.size + index * RECORD_SIZE.sampled;
    checkRange('token id', sequence.tokenId, 0, 0xffff_ffff);
    if (!Number.isFinite(Math.fround(sequence.logProbability))) refuse('A log-probability must be finite.');
    writeRecord(view, record, sequence);
    view.setUint32(record + RECORD.value, sequence.tokenId, true);
    view.setFloat32(record + RECORD.logProbability, sequence.logProbability, true);
    view.setUint8(record + RECORD.topCount, sequence.topLogProbabilities.length);
    checkTop(sequence.topLogProbabilities);
    for (const { tokenId, logProbability } of sequence.topLogProbabilities) {
      view.setUint32(target + TOP_ENTRY.tokenId, tokenId, true);
      view.setFloat32(target + TOP_ENTRY.logProbability, logProbability, true);
      target += TOP_ENTRY.size;
    }
  });
  return bytesOf(view);
}

function checkTop(top: readonly TokenLogProbability[]): void {
  checkRange('number of most probable tokens', top.length, 0, MAX_TOP_LOG_PROBABILITIES);
  for (const { tokenId } of top) checkRange('token id', tokenId, 0, 0xffff_ffff);
  if (!isTopOrder(top)) refuse('The most probable tokens must be in order and each named once.');
}

function checkSequences<Sequence extends FrameSequence>(
  sequences: readonly Sequence[],
  rowsOf: (sequence: Sequence) => number,
  maxRows: number,
): void {
  checkRange('number of sequences', sequences.length, 1, MAX_FRAME_SEQUENCES);
  checkRange('number of rows', sum(sequences, rowsOf), 1, maxRows);
  for (const sequence of sequences) {
    const rows = rowsOf(sequence);
    checkRange('number of rows of a sequence', rows, 1, maxRows);
    checkRange('position', sequence.position, 0, MAX_SEQUENCE_TOKENS - rows);
  }
  if (new Set(sequences.map(({ requestId }) => requestId)).size < sequences.length) {
    refuse('A request may be in a frame once.');
  }
}

function sum<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

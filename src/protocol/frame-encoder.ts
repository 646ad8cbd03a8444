import { hexToBytes } from '@noble/hashes/utils.js';
import * as v from 'valibot';
import { BLOCK_HASH_BYTES } from './block-hashes.ts';
import { SkeinError } from './errors.ts';
import type { ErrorShape } from './errors.ts';
import { allFinite } from './finite.ts';
import {
  ACTIVATION_HEADER,
  BYTES_PER_TOKEN_ID,
  BYTES_PER_VALUE,
  CLOSE_HEAD_SIZE,
  FORMAT_CODE,
  FRAME_KIND,
  FRAME_VERSION,
  HEADER,
  MAX_EPOCH,
  MAX_ERROR_MESSAGE_CHARACTERS,
  OPEN_HEADER,
  OPENED_SIZE,
  RECORD,
  RECORD_SIZE,
  TOP_ENTRY,
} from './frame-layout.ts';
import type { ActivationFormat, Frame, FrameSequence } from './frames.ts';
import { MAX_HALF, writeHalves } from './half.ts';
import { REQUEST_ID_PATTERN } from './ids.ts';
import type { RequestId } from './ids.ts';
import {
  MAX_FRAME_BYTES,
  MAX_FRAME_JSON_BYTES,
  MAX_FRAME_ROWS,
  MAX_FRAME_SEQUENCES,
  MAX_HIDDEN_SIZE,
  MAX_SEQUENCE_TOKENS,
  MAX_TOP_LOG_PROBABILITIES,
} from './limits.ts';
import { isTopOrder } from './sampling.ts';
import type { TokenLogProbability } from './sampling.ts';
import { errorShapeSchema } from './signaling.ts';
import { BLOCK_TOKENS, blockHashesSchema, cacheableTokens, openRequestSchema } from './stage.ts';

type FrameOf<Type extends Frame['type']> = Extract<Frame, { type: Type }>;

/**
 * @param format of activations; a frame with a value beyond ±65,504 is written as f32 whatever is asked.
 * @returns bytes that belong to the caller.
 * @throws SkeinError `bad-argument` for a frame that no receiver would take: over a limit, not finite, a request twice.
 */
export function encodeFrame(frame: Frame, format: ActivationFormat): Uint8Array<ArrayBuffer> {
  switch (frame.type) {
    case 'open':
      if (!v.is(openRequestSchema, frame.request)) refuse('The request is not one a stage would open.');
      return encodeJson(newOpenFrame(frame), frame.request);
    case 'opened':
      return encodeOpened(frame);
    case 'tokens':
      return encodeTokens(frame);
    case 'activations':
      return encodeActivations(frame, format);
    case 'sampled':
      return encodeSampled(frame);
    case 'close':
      return encodeClose(frame);
    case 'failed':
      return encodeJson(newRequestFrame(frame, RECORD.requestSize), errorForWire(frame.error));
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

/** A zeroed frame with its header, and at least that long. */
function newFrame(type: Frame['type'], sequenceCount: number, sizeBytes: number): DataView<ArrayBuffer> {
  if (sizeBytes > MAX_FRAME_BYTES) refuse(`A frame of ${sizeBytes} bytes is over ${MAX_FRAME_BYTES}.`);
  const view = new DataView(new ArrayBuffer(Math.max(sizeBytes, HEADER.size)));
  view.setUint8(HEADER.version, FRAME_VERSION);
  view.setUint8(HEADER.kind, FRAME_KIND[type]);
  view.setUint16(HEADER.sequenceCount, sequenceCount, true);
  return view;
}

function newOpenFrame({ request, cachedTokens }: FrameOf<'open'>): DataView<ArrayBuffer> {
  checkCachedTokens(cachedTokens, cacheableTokens(request));
  const view = newFrame('open', 0, OPEN_HEADER.size);
  view.setUint32(OPEN_HEADER.cachedTokens, cachedTokens, true);
  return view;
}

function encodeOpened(frame: FrameOf<'opened'>): Uint8Array<ArrayBuffer> {
  checkCachedTokens(frame.cachedTokens, MAX_SEQUENCE_TOKENS);
  const view = newRequestFrame(frame, OPENED_SIZE);
  view.setUint32(HEADER.size + RECORD.cachedTokens, frame.cachedTokens, true);
  return bytesOf(view);
}

function encodeClose(frame: FrameOf<'close'>): Uint8Array<ArrayBuffer> {
  const { blockHashes } = frame;
  if (!v.is(blockHashesSchema, blockHashes)) refuse('The block hashes are not ones a stage would take.');
  const view = newRequestFrame(frame, CLOSE_HEAD_SIZE + blockHashes.length * BLOCK_HASH_BYTES);
  view.setUint32(HEADER.size + RECORD.hashCount, blockHashes.length, true);
  const bytes = bytesOf(view);
  blockHashes.forEach((hash, index) => {
    bytes.set(hexToBytes(hash), HEADER.size + CLOSE_HEAD_SIZE + index * BLOCK_HASH_BYTES);
  });
  return bytes;
}

/** @param sizeBytes after the header. */
function newRequestFrame(
  frame: FrameOf<'opened' | 'close' | 'failed'>,
  sizeBytes: number,
): DataView<ArrayBuffer> {
  const view = newFrame(frame.type, 0, HEADER.size + sizeBytes);
  writeRequest(view, HEADER.size, frame);
  return view;
}

function writeRecord(view: DataView, offset: number, sequence: FrameSequence): void {
  writeRequest(view, offset, sequence);
  view.setUint32(offset + RECORD.position, sequence.position, true);
}

function writeRequest(
  view: DataView,
  offset: number,
  { requestId, epoch }: { requestId: RequestId; epoch: number },
): void {
  if (!REQUEST_ID_PATTERN.test(requestId)) refuse(`"${requestId}" is not a request id.`);
  checkRange('epoch', epoch, 0, MAX_EPOCH);
  view.setBigUint64(offset + RECORD.requestId, BigInt(`0x${requestId}`), false);
  view.setUint16(offset + RECORD.epoch, epoch, true);
}

function encodeJson(head: DataView<ArrayBuffer>, value: unknown): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(value));
  if (json.length > MAX_FRAME_JSON_BYTES) {
    refuse(`${json.length} bytes of JSON are over the ${MAX_FRAME_JSON_BYTES} a frame may have.`);
  }
  const bytes = new Uint8Array(head.byteLength + json.length);
  bytes.set(bytesOf(head));
  bytes.set(json, head.byteLength);
  return bytes;
}

/** A failure must always be tellable: what does not fit is cut from the message, or left out of the data. */
function errorForWire({ code, message, data }: ErrorShape): ErrorShape {
  const brief = { code, message: message.slice(0, MAX_ERROR_MESSAGE_CHARACTERS) };
  const full = data ? { ...brief, data } : brief;
  const fits =
    v.is(errorShapeSchema, full) &&
    new TextEncoder().encode(JSON.stringify(full)).length <= MAX_FRAME_JSON_BYTES;
  return fits ? full : brief;
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

function checkRange(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    refuse(`The ${what} is ${value} and must be a whole number from ${min} to ${max}.`);
  }
}

function checkCachedTokens(cachedTokens: number, max: number): void {
  checkRange('number of cached tokens', cachedTokens, 0, max);
  if (cachedTokens % BLOCK_TOKENS !== 0) refuse(`${cachedTokens} cached tokens are not whole blocks.`);
}

function fitsHalf(values: Float32Array): boolean {
  return values.every((value) => Math.abs(value) <= MAX_HALF);
}

function bytesOf(view: DataView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer);
}

function sum<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function refuse(message: string): never {
  throw new SkeinError('bad-argument', `${message} The frame cannot be sent.`);
}

import { allFinite } from './finite.ts';
import {
  ACTIVATION_HEADER,
  BYTES_PER_TOKEN_ID,
  BYTES_PER_VALUE,
  FORMAT_CODE,
  FRAME_KIND,
  FRAME_VERSION,
  HEADER,
  RECORD,
  RECORD_SIZE,
  TOP_ENTRY,
} from './frame-layout.ts';
import { checkLength, checkRange, checkRows, copy, readRecords, refuse } from './frame-reading.ts';
import type { Frame } from './frames.ts';
import { floatsFromHalves } from './half.ts';
import {
  MAX_FRAME_BYTES,
  MAX_FRAME_ROWS,
  MAX_HIDDEN_SIZE,
  MAX_SEQUENCE_TOKENS,
  MAX_TOP_LOG_PROBABILITIES,
} from './limits.ts';
import {
  decodeBegin,
  decodeClose,
  decodeFailed,
  decodeInquire,
  decodeOpen,
  decodeOpened,
  decodeState,
} from './request-frame-decoder.ts';
import { isTopOrder } from './sampling.ts';
import type { TokenLogProbability } from './sampling.ts';

const TYPE_BY_KIND = new Map<number, Frame['type']>(
  (Object.keys(FRAME_KIND) as Frame['type'][]).map((type) => [FRAME_KIND[type], type]),
);

/**
 * The type of a frame by its first bytes, so that nobody decodes a large frame that is meant for another listener.
 * @returns null for what is no frame of this version; a type says nothing about the rest.
 */
export function peekFrameType(bytes: Uint8Array): Frame['type'] | null {
  if (bytes[HEADER.version] !== FRAME_VERSION) return null;
  return TYPE_BY_KIND.get(bytes[HEADER.kind] ?? 0) ?? null;
}

/**
 * Every size is checked against the limits and the actual length before anything of that size is allocated.
 * @param bytes a whole frame, at any alignment; not retained.
 * @throws SkeinError `bad-frame` for anything but a frame that `encodeFrame` could have written; nothing else.
 */
export function decodeFrame(bytes: Uint8Array): Frame {
  if (bytes.length < HEADER.size || bytes.length > MAX_FRAME_BYTES) {
    refuse(`A frame of ${bytes.length} bytes is not between ${HEADER.size} and ${MAX_FRAME_BYTES}.`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint8(HEADER.version);
  if (version !== FRAME_VERSION) {
    refuse(`A frame of version ${version} came and this side speaks ${FRAME_VERSION}. Reload both.`);
  }
  const kind = view.getUint8(HEADER.kind);
  const sequenceCount = view.getUint16(HEADER.sequenceCount, true);
  switch (kind) {
    case FRAME_KIND.tokens:
      return decodeTokens(view, sequenceCount);
    case FRAME_KIND.activations:
      return decodeActivations(view, sequenceCount);
    case FRAME_KIND.sampled:
      return decodeSampled(view, sequenceCount);
  }
  if (sequenceCount !== 0)
    refuse(`A frame of kind ${kind} has ${sequenceCount} sequences and may have none.`);
  switch (kind) {
    case FRAME_KIND.open:
      return decodeOpen(view, bytes);
    case FRAME_KIND.opened:
      return decodeOpened(view);
    case FRAME_KIND.begin:
      return decodeBegin(view);
    case FRAME_KIND.close:
      return decodeClose(view, bytes);
    case FRAME_KIND.inquire:
      return decodeInquire(view);
    case FRAME_KIND.state:
      return decodeState(view);
    case FRAME_KIND.failed:
      return decodeFailed(view, bytes);
    default:
      return refuse(`Frame kind ${kind} is unknown.`);
  }
}

function decodeTokens(view: DataView, sequenceCount: number): Frame {
  const records = readRecords(view, sequenceCount, HEADER.size, RECORD_SIZE.tokens);
  const recordsEnd = HEADER.size + sequenceCount * RECORD_SIZE.tokens;
  const tokenCount = checkRows(records, MAX_SEQUENCE_TOKENS);
  checkLength(view, recordsEnd + tokenCount * BYTES_PER_TOKEN_ID);
  let source = recordsEnd;
  const sequences = records.map(({ requestId, epoch, position, value }) => {
    const tokenIds = new Uint32Array(copy(view, source, value * BYTES_PER_TOKEN_ID));
    source += value * BYTES_PER_TOKEN_ID;
    return { requestId, epoch, position, tokenIds };
  });
  return { type: 'tokens', sequences };
}

function decodeActivations(view: DataView, sequenceCount: number): Frame {
  const firstRecord = HEADER.size + ACTIVATION_HEADER.size;
  const records = readRecords(view, sequenceCount, firstRecord, RECORD_SIZE.activations);
  const hiddenSize = view.getUint16(ACTIVATION_HEADER.hiddenSize, true);
  checkRange('hidden size', hiddenSize, 1, MAX_HIDDEN_SIZE);
  checkRange('reserved byte', view.getUint8(ACTIVATION_HEADER.zero), 0, 0);
  const bytesPerValue = bytesPerValueOf(view.getUint8(ACTIVATION_HEADER.format));
  const recordsEnd = firstRecord + sequenceCount * RECORD_SIZE.activations;
  const bytesPerRow = hiddenSize * bytesPerValue;
  checkLength(view, recordsEnd + checkRows(records, MAX_FRAME_ROWS) * bytesPerRow);
  let source = recordsEnd;
  const sequences = records.map(({ requestId, epoch, position, value: rows }) => {
    const payload = copy(view, source, rows * bytesPerRow);
    source += rows * bytesPerRow;
    const values =
      bytesPerValue === BYTES_PER_VALUE.f16
        ? floatsFromHalves(new Uint16Array(payload))
        : new Float32Array(payload);
    if (!allFinite(values)) refuse(`Request ${requestId} has activations that are not finite.`);
    return { requestId, epoch, position, rows, values };
  });
  return { type: 'activations', hiddenSize, sequences };
}

function decodeSampled(view: DataView, sequenceCount: number): Frame {
  const records = readRecords(view, sequenceCount, HEADER.size, RECORD_SIZE.sampled);
  const recordsEnd = HEADER.size + sequenceCount * RECORD_SIZE.sampled;
  const topCounts = records.map(({ offset }) => readTopCount(view, offset));
  checkLength(view, recordsEnd + topCounts.reduce((sum, count) => sum + count, 0) * TOP_ENTRY.size);
  let source = recordsEnd;
  const sequences = records.map(({ requestId, epoch, position, value: tokenId, offset }, index) => {
    const logProbability = view.getFloat32(offset + RECORD.logProbability, true);
    if (!Number.isFinite(logProbability)) refuse(`Request ${requestId} has a log-probability of no value.`);
    checkRange('position', position, 0, MAX_SEQUENCE_TOKENS - 1);
    const topLogProbabilities = readTop(view, source, topCounts[index] ?? 0);
    if (!isTopOrder(topLogProbabilities)) {
      refuse(`The most probable tokens of request ${requestId} are not in order or named twice.`);
    }
    source += topLogProbabilities.length * TOP_ENTRY.size;
    return { requestId, epoch, position, tokenId, logProbability, topLogProbabilities };
  });
  return { type: 'sampled', sequences };
}

function readTopCount(view: DataView, offset: number): number {
  const count = view.getUint8(offset + RECORD.topCount);
  checkRange('number of most probable tokens', count, 0, MAX_TOP_LOG_PROBABILITIES);
  for (let byte = 1; byte < 4; byte++) {
    checkRange('reserved byte', view.getUint8(offset + RECORD.topCount + byte), 0, 0);
  }
  return count;
}

/** @param count checked against the length of the frame. */
function readTop(view: DataView, offset: number, count: number): TokenLogProbability[] {
  return Array.from({ length: count }, (_, rank) => {
    const entry = offset + rank * TOP_ENTRY.size;
    return {
      tokenId: view.getUint32(entry + TOP_ENTRY.tokenId, true),
      logProbability: view.getFloat32(entry + TOP_ENTRY.logProbability, true),
    };
  });
}

function bytesPerValueOf(format: number): number {
  switch (format) {
    case FORMAT_CODE.f32:
      return BYTES_PER_VALUE.f32;
    case FORMAT_CODE.f16:
      return BYTES_PER_VALUE.f16;
    default:
      return refuse(`Activation format ${format} is unknown.`);
  }
}

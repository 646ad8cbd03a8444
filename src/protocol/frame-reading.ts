import * as v from 'valibot';
import { SkeinError } from './errors.ts';
import { RECORD } from './frame-layout.ts';
import type { FrameSequence } from './frames.ts';
import type { RequestId } from './ids.ts';
import { MAX_FRAME_JSON_BYTES, MAX_FRAME_SEQUENCES, MAX_SEQUENCE_TOKENS } from './limits.ts';
import { refusedField } from './refused-field.ts';

/** What every sequence record starts with, and the u32 after it: token ids, rows, or the sampled token. */
export interface DecodedRecord extends FrameSequence {
  readonly value: number;
  readonly offset: number;
}

/**
 * The records of a frame, of which each request has one. Like everything here it throws SkeinError `bad-frame` for what no
 * encoder writes, and reads nothing that it has not checked to be there.
 */
export function readRecords(
  view: DataView,
  sequenceCount: number,
  firstRecord: number,
  recordSize: number,
): DecodedRecord[] {
  checkRange('number of sequences', sequenceCount, 1, MAX_FRAME_SEQUENCES);
  const end = firstRecord + sequenceCount * recordSize;
  if (view.byteLength < end)
    refuse(`${sequenceCount} sequences need ${end} bytes and ${view.byteLength} came.`);
  const records = Array.from({ length: sequenceCount }, (_, index) => {
    const offset = firstRecord + index * recordSize;
    return {
      ...readRequest(view, offset),
      position: view.getUint32(offset + RECORD.position, true),
      value: view.getUint32(offset + RECORD.value, true),
      offset,
    };
  });
  if (new Set(records.map(({ requestId }) => requestId)).size < sequenceCount) {
    refuse('A request is in a frame twice.');
  }
  return records;
}

export function readRequest(view: DataView, offset: number): { requestId: RequestId; epoch: number } {
  checkRange('reserved field', view.getUint16(offset + RECORD.zero, true), 0, 0);
  const id = view.getBigUint64(offset + RECORD.requestId, false);
  return {
    requestId: id.toString(16).padStart(16, '0') as RequestId,
    epoch: view.getUint16(offset + RECORD.epoch, true),
  };
}

/** @returns rows over all records. */
export function checkRows(records: readonly DecodedRecord[], maxRows: number): number {
  let total = 0;
  for (const { position, value: rows } of records) {
    checkRange('number of rows', rows, 1, maxRows);
    checkRange('position', position, 0, MAX_SEQUENCE_TOKENS - rows);
    total += rows;
  }
  checkRange('number of rows', total, 1, maxRows);
  return total;
}

/** Before a frame of no fixed size is read any further. */
export function checkHead(view: DataView, sizeBytes: number): void {
  if (view.byteLength < sizeBytes) {
    refuse(`A frame of ${view.byteLength} bytes is too short: ${sizeBytes} are its head.`);
  }
}

export function checkLength(view: DataView, expected: number): void {
  if (view.byteLength !== expected) {
    refuse(`A frame that says it has ${expected} bytes has ${view.byteLength}.`);
  }
}

export function checkRange(what: string, value: number, min: number, max: number): void {
  if (value < min || value > max) refuse(`The ${what} is ${value} and must be from ${min} to ${max}.`);
}

/** A new buffer, because typed arrays want alignment that a frame inside a message does not have. */
export function copy(view: DataView, offset: number, sizeBytes: number): ArrayBuffer {
  const start = view.byteOffset + offset;
  return new Uint8Array(view.buffer, start, sizeBytes).slice().buffer;
}

export function decodeJson<Schema extends v.GenericSchema>(
  schema: Schema,
  bytes: Uint8Array,
): v.InferOutput<Schema> {
  if (bytes.length > MAX_FRAME_JSON_BYTES) {
    refuse(`${bytes.length} bytes of JSON are over the ${MAX_FRAME_JSON_BYTES} a frame may have.`);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new SkeinError('bad-frame', 'The JSON of a frame cannot be read.', { cause });
  }
  const result = v.safeParse(schema, parsed);
  if (result.success) return result.output;
  const { field, reason } = refusedField(result.issues);
  return refuse(`Field "${field}" of a frame: ${reason}`);
}

export function refuse(message: string): never {
  throw new SkeinError('bad-frame', message);
}

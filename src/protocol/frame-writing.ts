import { SkeinError } from './errors.ts';
import { FRAME_KIND, FRAME_VERSION, HEADER, MAX_EPOCH, RECORD, REQUEST_HEAD_SIZE } from './frame-layout.ts';
import type { Frame, FrameSequence } from './frames.ts';
import { REQUEST_ID_PATTERN } from './ids.ts';
import type { RequestId } from './ids.ts';
import { MAX_FRAME_BYTES } from './limits.ts';

/** A zeroed frame with its header, and at least that long. Like everything here it throws SkeinError `bad-argument`. */
export function newFrame(
  type: Frame['type'],
  sequenceCount: number,
  sizeBytes: number,
): DataView<ArrayBuffer> {
  if (sizeBytes > MAX_FRAME_BYTES) refuse(`A frame of ${sizeBytes} bytes is over ${MAX_FRAME_BYTES}.`);
  const view = new DataView(new ArrayBuffer(Math.max(sizeBytes, HEADER.size)));
  view.setUint8(HEADER.version, FRAME_VERSION);
  view.setUint8(HEADER.kind, FRAME_KIND[type]);
  view.setUint16(HEADER.sequenceCount, sequenceCount, true);
  return view;
}

/** A zeroed frame about one request, with its header and the request. */
export function newRequestFrame(
  frame: { readonly type: Frame['type']; readonly requestId: RequestId; readonly epoch: number },
  sizeBytes: number = REQUEST_HEAD_SIZE,
): DataView<ArrayBuffer> {
  const view = newFrame(frame.type, 0, sizeBytes);
  writeRequest(view, HEADER.size, frame);
  return view;
}

export function writeRecord(view: DataView, offset: number, sequence: FrameSequence): void {
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

export function checkRange(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    refuse(`The ${what} is ${value} and must be a whole number from ${min} to ${max}.`);
  }
}

export function bytesOf(view: DataView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer);
}

export function refuse(message: string): never {
  throw new SkeinError('bad-argument', `${message} The frame cannot be sent.`);
}

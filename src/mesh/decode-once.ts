import { decodeFrame } from '../protocol/frame-codec.ts';
import type { Frame } from '../protocol/frames.ts';

const decodedFrames = new WeakMap<Uint8Array, Frame>();

/**
 * A step's tokens come in one frame, which every session of the requester sees.
 * @param bytes not written to after they came.
 * @throws SkeinError `bad-frame`.
 */
export function decodeOnce(bytes: Uint8Array<ArrayBuffer>): Frame {
  const known = decodedFrames.get(bytes);
  if (known !== undefined) return known;
  const frame = decodeFrame(bytes);
  decodedFrames.set(bytes, frame);
  return frame;
}

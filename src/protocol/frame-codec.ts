/** Frames to bytes and back. The offset table is in frame-layout.ts. */
export { decodeFrame, peekFrameType } from './frame-decoder.ts';
export { encodeFrame } from './frame-encoder.ts';

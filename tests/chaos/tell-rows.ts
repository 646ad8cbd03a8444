import { decodeFrame, peekFrameType } from '../../src/protocol/frame-codec.ts';
import type { Frame } from '../../src/protocol/frames.ts';
import type { RequestId } from '../../src/protocol/ids.ts';
import type { FrameTransport } from '../../src/protocol/transport.ts';

/** Rows of a prompt that came for a request: how far it is now. */
export interface PromptRows {
  readonly requestId: RequestId;
  readonly epoch: number;
  /** Position after the last of them. */
  readonly upTo: number;
}

/** Listens in on what a stage is fed. A single row is a step of decoding, and is not told of. */
export function tellRows(transport: FrameTransport, onRows: (rows: PromptRows) => void): void {
  transport.onFrame((_, bytes) => {
    const frame = read(bytes);
    if (frame?.type === 'tokens') {
      for (const { requestId, epoch, position, tokenIds } of frame.sequences) {
        if (tokenIds.length > 1) onRows({ requestId, epoch, upTo: position + tokenIds.length });
      }
    } else if (frame?.type === 'activations') {
      for (const { requestId, epoch, position, rows } of frame.sequences) {
        if (rows > 1) onRows({ requestId, epoch, upTo: position + rows });
      }
    }
  });
}

/** @returns null for what the stage refuses anyway. */
function read(bytes: Uint8Array): Frame | null {
  const type = peekFrameType(bytes);
  if (type !== 'tokens' && type !== 'activations') return null;
  try {
    return decodeFrame(bytes);
  } catch {
    return null;
  }
}

import { isDeepStrictEqual } from 'node:util';
import { decodeFrame, encodeFrame } from '../../src/protocol/frame-codec.ts';
import { ACTIVATION_HEADER, FORMAT_CODE } from '../../src/protocol/frame-layout.ts';
import type { Frame } from '../../src/protocol/frames.ts';
import type { AllocationSpy } from './allocation-spy.ts';
import type { FrameCorpus } from './frame-corpus.ts';
import { hexOf, Tally } from './tally.ts';

/**
 * Bytes that decoding may ask for: of f16 rows a copy and twice as much for their f32, of everything else less; and a little for what
 * is small. A count that is believed before it is checked asks for far more.
 */
const ASKED_PER_BYTE = 4;
const ASKED_AT_LEAST = 4096;

/** Bytes asked for, and how many each byte of a frame asked for at most. */
export interface Asked {
  total: number;
  mostPerByte: number;
}

export function newAsked(): Asked {
  return { total: 0, mostPerByte: 0 };
}

/** @param spy installed. */
export function fuzzDecoder(corpus: FrameCorpus, frames: number, spy: AllocationSpy, asked: Asked): Tally {
  const tally = new Tally('frame decoder');
  // The table of halves is made once, by whoever is first.
  decodeFrame(corpus.sound().bytes);
  for (let count = 0; count < frames; count++) {
    const bytes = corpus.mutated();
    checkDecoding(bytes, spy, asked, tally);
  }
  return tally;
}

/** Decoding refuses with `bad-frame` or gives what encodes to the same bytes, and asks for no more than the frame is worth. */
function checkDecoding(bytes: Uint8Array, spy: AllocationSpy, asked: Asked, tally: Tally): void {
  const input = () => hexOf(bytes);
  const decoded: Frame[] = [];
  const askedBytes = spy.during(() => {
    try {
      decoded.push(decodeFrame(bytes));
    } catch (thrown) {
      tally.reject(thrown, 'bad-frame', input);
    }
  });
  asked.total += askedBytes;
  asked.mostPerByte = Math.max(asked.mostPerByte, (askedBytes - ASKED_AT_LEAST) / Math.max(1, bytes.length));
  if (askedBytes > ASKED_AT_LEAST + ASKED_PER_BYTE * bytes.length) {
    tally.problem(`${askedBytes} bytes were asked for`, input);
  }
  const [frame] = decoded;
  if (frame === undefined) return;
  tally.accept();
  const wrong = findDifference(frame, bytes);
  if (wrong !== null) tally.problem(wrong, input);
}

/** What is wrong with a decoded frame; null for nothing. */
function findDifference(frame: Frame, bytes: Uint8Array): string | null {
  const isHalf = frame.type === 'activations' && bytes[ACTIVATION_HEADER.format] === FORMAT_CODE.f16;
  let encoded: Uint8Array;
  try {
    encoded = encodeFrame(frame, isHalf ? 'f16' : 'f32');
  } catch (thrown) {
    return `decodes, but does not encode (${String(thrown)})`;
  }
  if (Buffer.compare(encoded, bytes) === 0) return null;
  // JSON may be written in many ways: what it says must stay.
  if (frame.type !== 'open' && frame.type !== 'failed') return `a ${frame.type} frame encodes to other bytes`;
  try {
    return isDeepStrictEqual(decodeFrame(encoded), frame)
      ? null
      : `a ${frame.type} frame says something else`;
  } catch (thrown) {
    return `a ${frame.type} frame is taken once and not again (${String(thrown)})`;
  }
}

import { bytesToHex } from '@noble/hashes/utils.js';
import { BLOCK_HASH_BYTES } from './block-hashes.ts';
import {
  BYTES_PER_START,
  CLOSE_HEAD,
  HEADER,
  INQUIRE,
  LIST_HEAD,
  OFFER,
  OPEN_HEAD,
  REQUEST_HEAD_SIZE,
  STATE,
} from './frame-layout.ts';
import { checkHead, checkLength, checkRange, decodeJson, readRequest, refuse } from './frame-reading.ts';
import type { FrameOf, StageOffer } from './frames.ts';
import { MAX_BLOCK_HASHES, MAX_ROUTE_HOPS, MAX_SEQUENCE_TOKENS } from './limits.ts';
import { errorShapeSchema } from './signaling.ts';
import { BLOCK_TOKENS, cacheableTokens, openRequestSchema } from './stage.ts';

/** Of frames that are about one request. @throws SkeinError `bad-frame` for what no encoder writes. */
export function decodeOpen(view: DataView, bytes: Uint8Array): FrameOf<'open'> {
  checkHead(view, OPEN_HEAD.size);
  const offerCount = view.getUint32(OPEN_HEAD.offerCount, true);
  checkRange('number of offers', offerCount, 0, MAX_ROUTE_HOPS - 1);
  const jsonStart = OPEN_HEAD.size + offerCount * OFFER.size;
  checkHead(view, jsonStart);
  const request = decodeJson(openRequestSchema, bytes.subarray(jsonStart));
  checkRange('number of offers', offerCount, 0, request.route.hops.length - 1);
  const offers = readOffers(view, OPEN_HEAD.size, offerCount, cacheableTokens(request));
  return { type: 'open', request, offers };
}

export function decodeOpened(view: DataView): FrameOf<'opened'> {
  const count = readCount(view, 'number of offers', OFFER.size);
  const offers = readOffers(view, LIST_HEAD.size, count, MAX_SEQUENCE_TOKENS);
  return { type: 'opened', ...readRequest(view, HEADER.size), offers };
}

export function decodeBegin(view: DataView): FrameOf<'begin'> {
  const count = readCount(view, 'number of starts', BYTES_PER_START);
  const starts = Array.from({ length: count }, (_, hop) =>
    readBlocks(view, 'start', LIST_HEAD.size + hop * BYTES_PER_START, MAX_SEQUENCE_TOKENS),
  );
  return { type: 'begin', ...readRequest(view, HEADER.size), starts };
}

export function decodeClose(view: DataView, bytes: Uint8Array): FrameOf<'close'> {
  checkHead(view, CLOSE_HEAD.size);
  const hashCount = view.getUint32(CLOSE_HEAD.hashCount, true);
  checkRange('number of block hashes', hashCount, 0, MAX_BLOCK_HASHES);
  const moved = view.getUint32(CLOSE_HEAD.isMoved, true);
  checkRange('mark of a moved request', moved, 0, 1);
  checkLength(view, CLOSE_HEAD.size + hashCount * BLOCK_HASH_BYTES);
  const blockHashes = Array.from({ length: hashCount }, (_, index) => {
    const start = CLOSE_HEAD.size + index * BLOCK_HASH_BYTES;
    return bytesToHex(bytes.subarray(start, start + BLOCK_HASH_BYTES));
  });
  return { type: 'close', ...readRequest(view, HEADER.size), blockHashes, isMoved: moved === 1 };
}

export function decodeInquire(view: DataView): FrameOf<'inquire'> {
  checkLength(view, INQUIRE.size);
  return { type: 'inquire', ...readRequest(view, HEADER.size), nonce: view.getUint32(INQUIRE.nonce, true) };
}

export function decodeState(view: DataView): FrameOf<'state'> {
  checkLength(view, STATE.size);
  const hop = view.getUint32(STATE.hop, true);
  const receivedUpTo = view.getUint32(STATE.receivedUpTo, true);
  const sentUpTo = view.getUint32(STATE.sentUpTo, true);
  const typicalStepMs = view.getFloat32(STATE.typicalStepMs, true);
  checkRange('hop', hop, 0, MAX_ROUTE_HOPS - 1);
  checkRange('position after what was received', receivedUpTo, 0, MAX_SEQUENCE_TOKENS);
  checkRange('position after what was sent', sentUpTo, 0, MAX_SEQUENCE_TOKENS);
  // A negative zero too: no encoder writes one.
  if (!Number.isFinite(typicalStepMs) || typicalStepMs < 0 || Object.is(typicalStepMs, -0)) {
    refuse(`A typical step of ${typicalStepMs} ms is no time.`);
  }
  return {
    type: 'state',
    ...readRequest(view, HEADER.size),
    nonce: view.getUint32(STATE.nonce, true),
    hop,
    receivedUpTo,
    sentUpTo,
    steps: view.getUint32(STATE.steps, true),
    typicalStepMs,
  };
}

export function decodeFailed(view: DataView, bytes: Uint8Array): FrameOf<'failed'> {
  checkHead(view, REQUEST_HEAD_SIZE);
  const error = decodeJson(errorShapeSchema, bytes.subarray(REQUEST_HEAD_SIZE));
  return { type: 'failed', ...readRequest(view, HEADER.size), error };
}

/** One per hop, and nothing behind the last. */
function readCount(view: DataView, what: string, bytesPerEntry: number): number {
  checkHead(view, LIST_HEAD.size);
  const count = view.getUint32(LIST_HEAD.count, true);
  checkRange(what, count, 1, MAX_ROUTE_HOPS);
  checkLength(view, LIST_HEAD.size + count * bytesPerEntry);
  return count;
}

/** @param count checked against the length of the frame. */
function readOffers(view: DataView, first: number, count: number, maxCachedTokens: number): StageOffer[] {
  return Array.from({ length: count }, (_, hop) => {
    const offer = first + hop * OFFER.size;
    const journalFrom = view.getUint32(offer + OFFER.journalFrom, true);
    checkRange('first position of a journal', journalFrom, 0, MAX_SEQUENCE_TOKENS);
    const cachedTokens = readBlocks(
      view,
      'number of cached tokens',
      offer + OFFER.cachedTokens,
      maxCachedTokens,
    );
    return { cachedTokens, journalFrom };
  });
}

function readBlocks(view: DataView, what: string, offset: number, max: number): number {
  const tokens = view.getUint32(offset, true);
  checkRange(what, tokens, 0, max);
  if (tokens % BLOCK_TOKENS !== 0) refuse(`The ${what} is ${tokens}, which is not whole blocks.`);
  return tokens;
}

import { hexToBytes } from '@noble/hashes/utils.js';
import * as v from 'valibot';
import { BLOCK_HASH_BYTES } from './block-hashes.ts';
import { errorForWire } from './error-for-wire.ts';
import { BYTES_PER_START, CLOSE_HEAD, INQUIRE, LIST_HEAD, OFFER, OPEN_HEAD, STATE } from './frame-layout.ts';
import { bytesOf, checkRange, newFrame, newRequestFrame, refuse } from './frame-writing.ts';
import type { FrameOf, StageOffer } from './frames.ts';
import { MAX_FRAME_JSON_BYTES, MAX_ROUTE_HOPS, MAX_SEQUENCE_TOKENS } from './limits.ts';
import { BLOCK_TOKENS, blockHashesSchema, cacheableTokens, openRequestSchema } from './stage.ts';

const MAX_U32 = 0xffff_ffff;

/** Of frames that are about one request. @throws SkeinError `bad-argument` for what no receiver would take. */
export function encodeOpen({ request, offers }: FrameOf<'open'>): Uint8Array<ArrayBuffer> {
  if (!v.is(openRequestSchema, request)) refuse('The request is not one a stage would open.');
  checkRange('number of offers', offers.length, 0, request.route.hops.length - 1);
  const view = newFrame('open', 0, OPEN_HEAD.size + offers.length * OFFER.size);
  view.setUint32(OPEN_HEAD.offerCount, offers.length, true);
  writeOffers(view, OPEN_HEAD.size, offers, cacheableTokens(request));
  return encodeJson(view, request);
}

export function encodeOpened(frame: FrameOf<'opened'>): Uint8Array<ArrayBuffer> {
  const { offers } = frame;
  checkRange('number of offers', offers.length, 1, MAX_ROUTE_HOPS);
  const view = newRequestFrame(frame, LIST_HEAD.size + offers.length * OFFER.size);
  view.setUint32(LIST_HEAD.count, offers.length, true);
  writeOffers(view, LIST_HEAD.size, offers, MAX_SEQUENCE_TOKENS);
  return bytesOf(view);
}

export function encodeBegin(frame: FrameOf<'begin'>): Uint8Array<ArrayBuffer> {
  const { starts } = frame;
  checkRange('number of starts', starts.length, 1, MAX_ROUTE_HOPS);
  const view = newRequestFrame(frame, LIST_HEAD.size + starts.length * BYTES_PER_START);
  view.setUint32(LIST_HEAD.count, starts.length, true);
  starts.forEach((start, hop) => {
    checkBlocks('start', start, MAX_SEQUENCE_TOKENS);
    view.setUint32(LIST_HEAD.size + hop * BYTES_PER_START, start, true);
  });
  return bytesOf(view);
}

export function encodeClose(frame: FrameOf<'close'>): Uint8Array<ArrayBuffer> {
  const { blockHashes, isMoved } = frame;
  if (!v.is(blockHashesSchema, blockHashes)) refuse('The block hashes are not ones a stage would take.');
  const view = newRequestFrame(frame, CLOSE_HEAD.size + blockHashes.length * BLOCK_HASH_BYTES);
  view.setUint32(CLOSE_HEAD.hashCount, blockHashes.length, true);
  view.setUint32(CLOSE_HEAD.isMoved, isMoved ? 1 : 0, true);
  const bytes = bytesOf(view);
  blockHashes.forEach((hash, index) => {
    bytes.set(hexToBytes(hash), CLOSE_HEAD.size + index * BLOCK_HASH_BYTES);
  });
  return bytes;
}

export function encodeInquire(frame: FrameOf<'inquire'>): Uint8Array<ArrayBuffer> {
  checkRange('nonce', frame.nonce, 0, MAX_U32);
  const view = newRequestFrame(frame, INQUIRE.size);
  view.setUint32(INQUIRE.nonce, frame.nonce, true);
  return bytesOf(view);
}

export function encodeState(frame: FrameOf<'state'>): Uint8Array<ArrayBuffer> {
  const { nonce, hop, receivedUpTo, sentUpTo, steps, typicalStepMs } = frame;
  checkRange('nonce', nonce, 0, MAX_U32);
  checkRange('hop', hop, 0, MAX_ROUTE_HOPS - 1);
  checkRange('position after what was received', receivedUpTo, 0, MAX_SEQUENCE_TOKENS);
  checkRange('position after what was sent', sentUpTo, 0, MAX_SEQUENCE_TOKENS);
  checkRange('number of steps', steps, 0, MAX_U32);
  if (!Number.isFinite(Math.fround(typicalStepMs)) || typicalStepMs < 0 || Object.is(typicalStepMs, -0)) {
    refuse(`A typical step of ${typicalStepMs} ms is no time.`);
  }
  const view = newRequestFrame(frame, STATE.size);
  view.setUint32(STATE.nonce, nonce, true);
  view.setUint32(STATE.hop, hop, true);
  view.setUint32(STATE.receivedUpTo, receivedUpTo, true);
  view.setUint32(STATE.sentUpTo, sentUpTo, true);
  view.setUint32(STATE.steps, steps, true);
  view.setFloat32(STATE.typicalStepMs, typicalStepMs, true);
  return bytesOf(view);
}

export function encodeFailed(frame: FrameOf<'failed'>): Uint8Array<ArrayBuffer> {
  return encodeJson(newRequestFrame(frame), errorForWire(frame.error, MAX_FRAME_JSON_BYTES));
}

function writeOffers(
  view: DataView,
  offset: number,
  offers: readonly StageOffer[],
  maxCachedTokens: number,
): void {
  offers.forEach(({ cachedTokens, journalFrom }, hop) => {
    checkBlocks('number of cached tokens', cachedTokens, maxCachedTokens);
    checkRange('first position of a journal', journalFrom, 0, MAX_SEQUENCE_TOKENS);
    view.setUint32(offset + hop * OFFER.size + OFFER.cachedTokens, cachedTokens, true);
    view.setUint32(offset + hop * OFFER.size + OFFER.journalFrom, journalFrom, true);
  });
}

function checkBlocks(what: string, tokens: number, max: number): void {
  checkRange(what, tokens, 0, max);
  if (tokens % BLOCK_TOKENS !== 0) refuse(`The ${what} is ${tokens}, which is not whole blocks.`);
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

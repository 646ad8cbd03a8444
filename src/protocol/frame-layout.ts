/**
 * Where everything is in a frame. Little-endian throughout; every size is a multiple of 4 except JSON and f16 payloads.
 *
 * ```
 * header, every frame                      4 bytes
 *   0  u8   version
 *   1  u8   kind
 *   2  u16  sequences; 0 for everything but tokens, activations and sampled
 *
 * activations only, after the header       4 bytes
 *   0  u16  hidden size
 *   2  u8   format of the values: 1 = f32, 2 = f16
 *   3  u8   zero
 *
 * one record per sequence                  16 bytes, then by kind
 *   0  8 bytes  request id
 *   8  u16  epoch
 *  10  u16  zero
 *  12  u32  position
 *  16  u32  tokens: ids of this sequence; activations: rows of this sequence; sampled: the token id
 *  20  f32  sampled only: log-probability
 *  24  u8   sampled only: most probable tokens that are reported
 *  25  3 bytes  sampled only: zero
 *
 * payload, in order of the records
 *   tokens       u32 per id
 *   activations  f32 or f16 [rows, hidden size]
 *   sampled      u32 token id and f32 log-probability of each of the most probable tokens, most probable first
 *
 * offer                                    8 bytes
 *   0  u32  cached tokens
 *   4  u32  journal from
 *
 * open     header, then u32 number of offers, then the offers, then JSON of the request, UTF-8, to the end
 *
 * all others: header, then the first 12 bytes of a record, then
 *   opened   u32 number of offers, then the offers
 *   begin    u32 number of starts, then u32 per start
 *   close    u32 number of block hashes, then u32 1 where the request has moved and else 0, then 16 bytes per hash
 *   inquire  u32 nonce
 *   state    u32 nonce, u32 hop, u32 received up to, u32 sent up to, u32 steps, f32 typical milliseconds of a step
 *   failed   JSON of the error, UTF-8, to the end
 * ```
 */
export const FRAME_VERSION = 3;

export const FRAME_KIND = {
  open: 1,
  tokens: 2,
  activations: 3,
  sampled: 4,
  close: 5,
  failed: 6,
  opened: 7,
  begin: 8,
  inquire: 9,
  state: 10,
} as const;
export const FORMAT_CODE = { f32: 1, f16: 2 } as const;
export const BYTES_PER_VALUE = { f32: 4, f16: 2 } as const;
export const BYTES_PER_TOKEN_ID = 4;
export const BYTES_PER_START = 4;

export const HEADER = { version: 0, kind: 1, sequenceCount: 2, size: 4 } as const;

/** Of an open frame, up to its offers. */
export const OPEN_HEAD = { offerCount: HEADER.size, size: HEADER.size + 4 } as const;

export const OFFER = { cachedTokens: 0, journalFrom: 4, size: 8 } as const;

export const ACTIVATION_HEADER = {
  hiddenSize: HEADER.size,
  format: HEADER.size + 2,
  zero: HEADER.size + 3,
  size: 4,
} as const;

const REQUEST_ID_BYTES = 8;

export const RECORD = {
  requestId: 0,
  epoch: REQUEST_ID_BYTES,
  zero: REQUEST_ID_BYTES + 2,
  /** What frames about one request have of a record. */
  requestSize: REQUEST_ID_BYTES + 4,
  position: REQUEST_ID_BYTES + 4,
  value: REQUEST_ID_BYTES + 8,
  logProbability: REQUEST_ID_BYTES + 12,
  topCount: REQUEST_ID_BYTES + 16,
} as const;

/** Where frames about one request have what follows the request. */
const BODY = HEADER.size + RECORD.requestSize;
export const REQUEST_HEAD_SIZE = BODY;
/** Of opened and begin, up to what they count. */
export const LIST_HEAD = { count: BODY, size: BODY + 4 } as const;
/** Of close, up to its hashes. */
export const CLOSE_HEAD = { hashCount: BODY, isMoved: BODY + 4, size: BODY + 8 } as const;
export const INQUIRE = { nonce: BODY, size: BODY + 4 } as const;
export const STATE = {
  nonce: BODY,
  hop: BODY + 4,
  receivedUpTo: BODY + 8,
  sentUpTo: BODY + 12,
  steps: BODY + 16,
  typicalStepMs: BODY + 20,
  size: BODY + 24,
} as const;

export const RECORD_SIZE = { tokens: 20, activations: 20, sampled: 28 } as const;
/** One of the most probable tokens. */
export const TOP_ENTRY = { tokenId: 0, logProbability: 4, size: 8 } as const;

/** Largest epoch a frame can say. */
export const MAX_EPOCH = 0xffff;
/** The route schema and the errors allow no more than this in words. */
export const MAX_ERROR_MESSAGE_CHARACTERS = 2000;

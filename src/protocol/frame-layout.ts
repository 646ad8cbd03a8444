/**
 * Where everything is in a frame. Little-endian throughout; every size is a multiple of 4 except JSON and f16 payloads.
 *
 * ```
 * header, every frame                      4 bytes
 *   0  u8   version
 *   1  u8   kind
 *   2  u16  sequences; 0 for open, opened, close and failed
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
 * open    header, then u32 cached tokens, then JSON of the request, UTF-8, to the end
 * opened  header, then the first 12 bytes of a record, then u32 cached tokens
 * close   header, then the first 12 bytes of a record, then u32 number of block hashes, then 16 bytes per hash
 * failed  header, then the first 12 bytes of a record, then JSON of the error, UTF-8, to the end
 * ```
 */
export const FRAME_VERSION = 2;

export const FRAME_KIND = {
  open: 1,
  tokens: 2,
  activations: 3,
  sampled: 4,
  close: 5,
  failed: 6,
  opened: 7,
} as const;
export const FORMAT_CODE = { f32: 1, f16: 2 } as const;
export const BYTES_PER_VALUE = { f32: 4, f16: 2 } as const;
export const BYTES_PER_TOKEN_ID = 4;

export const HEADER = { version: 0, kind: 1, sequenceCount: 2, size: 4 } as const;

export const OPEN_HEADER = { cachedTokens: HEADER.size, size: HEADER.size + 4 } as const;

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
  /** What opened, close and failed have of a record. */
  requestSize: REQUEST_ID_BYTES + 4,
  /** Opened only, in the place of a position. */
  cachedTokens: REQUEST_ID_BYTES + 4,
  /** Close only, in the place of a position. */
  hashCount: REQUEST_ID_BYTES + 4,
  position: REQUEST_ID_BYTES + 4,
  value: REQUEST_ID_BYTES + 8,
  logProbability: REQUEST_ID_BYTES + 12,
  topCount: REQUEST_ID_BYTES + 16,
} as const;

/** Of an opened frame whole, and of a close frame up to its hashes; both after the header. */
export const OPENED_SIZE = RECORD.cachedTokens + 4;
export const CLOSE_HEAD_SIZE = RECORD.hashCount + 4;

export const RECORD_SIZE = { tokens: 20, activations: 20, sampled: 28 } as const;
/** One of the most probable tokens. */
export const TOP_ENTRY = { tokenId: 0, logProbability: 4, size: 8 } as const;

/** Largest epoch a frame can say. */
export const MAX_EPOCH = 0xffff;
/** The route schema and the errors allow no more than this in words. */
export const MAX_ERROR_MESSAGE_CHARACTERS = 2000;

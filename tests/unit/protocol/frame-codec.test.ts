import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { decodeFrame, encodeFrame } from '../../../src/protocol/frame-codec.ts';
import type { Frame, StageOffer } from '../../../src/protocol/frames.ts';
import type { ModelId, PeerId, RequestId } from '../../../src/protocol/ids.ts';
import {
  MAX_BLOCK_HASHES,
  MAX_FRAME_BYTES,
  MAX_CONSTRAINT_CHARACTERS,
  MAX_FRAME_JSON_BYTES,
  MAX_FRAME_ROWS,
  MAX_HISTORY_TOKENS,
  MAX_LOGIT_BIASES,
  MAX_ROUTE_HOPS,
  MAX_STOP_TOKENS,
  MAX_TIME_LIMIT_MS,
  MAX_TOP_LOG_PROBABILITIES,
} from '../../../src/protocol/limits.ts';
import { GREEDY, NO_HISTORY } from '../../../src/protocol/sampling.ts';
import { anyFrame } from './frame-arbitraries.ts';

const FIRST = '0123456789abcdef' as RequestId;
const SECOND = 'fedcba9876543210' as RequestId;
const HASH = '0123456789abcdef'.repeat(2);
const CLOSE = {
  type: 'close',
  requestId: FIRST,
  epoch: 0,
  blockHashes: [],
  isMoved: false,
} as const satisfies Frame;
const STATE = {
  type: 'state',
  requestId: FIRST,
  epoch: 7,
  nonce: 0x01020304,
  hop: 9,
  receivedUpTo: 33,
  sentUpTo: 32,
  steps: 256,
  typicalStepMs: 1.5,
} as const satisfies Frame;
const FUZZED_FRAMES = 20_000;
/** For a machine that does many other things at the same time. */
const PROPERTY_TIMEOUT_MS = 60_000;

function activations(values: number[], hiddenSize = values.length): Frame {
  const sequence = { requestId: FIRST, epoch: 7, position: 5, rows: values.length / hiddenSize };
  return { type: 'activations', hiddenSize, sequences: [{ ...sequence, values: Float32Array.from(values) }] };
}

const offer = (cachedTokens: number, journalFrom = cachedTokens) => ({ cachedTokens, journalFrom });

/** To the second of two hops: the first has so much. */
function openFrame(promptTokens: number, blockHashes: string[], cachedTokens: number): Frame {
  const peer = 'a'.repeat(32) as PeerId;
  const hops = [0, 1].map((layerStart) => ({ peer, layerStart, layerEnd: layerStart + 1 }));
  return {
    type: 'open',
    offers: [offer(cachedTokens)],
    request: {
      route: { requestId: FIRST, epoch: 0, model: 'm' as ModelId, hops },
      requester: peer,
      promptTokens,
      blockHashes,
      timeLimitMs: 1000,
      maxTokens: 1,
      stopTokenIds: [],
      sampling: GREEDY,
      history: NO_HISTORY,
      constraint: null,
      keepsCache: true,
      epochKey: HASH,
    },
  };
}

/** The bytes of an `open` frame whose request says something else than an encoder would let through. */
function openBytes(change: (request: Record<string, unknown>) => void): Uint8Array {
  const bytes = encodeFrame(openFrame(33, [HASH, HASH], 32), 'f16');
  const head = bytes.subarray(0, 16);
  const request = JSON.parse(new TextDecoder().decode(bytes.subarray(16))) as Record<string, unknown>;
  change(request);
  return Uint8Array.from([...head, ...new TextEncoder().encode(JSON.stringify(request))]);
}

function valuesAfterTravel(frame: Frame, format: 'f16' | 'f32'): number[] {
  const decoded = decodeFrame(encodeFrame(frame, format));
  if (decoded.type !== 'activations') throw new Error(`became ${decoded.type}`);
  return decoded.sequences.flatMap(({ values }) => [...values]);
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    return thrown instanceof SkeinError ? thrown.code : String(thrown);
  }
  return 'no error';
}

/** A valid frame with one thing changed. */
function tampered(frame: Frame, change: (view: DataView, bytes: Uint8Array) => void): Uint8Array {
  const bytes = encodeFrame(frame, 'f32');
  change(new DataView(bytes.buffer), bytes);
  return bytes;
}

const HOSTILE_SAMPLING: Record<string, Record<string, unknown>> = {
  'a share below none': { minP: -0.1 },
  'a share above all': { minP: 1.1 },
  'a penalty of nothing': { repetitionPenalty: 0 },
  'a penalty of null': { repetitionPenalty: null },
  'a presence penalty over two': { presencePenalty: 2.1 },
  'a frequency penalty below minus two': { frequencyPenalty: -2.1 },
  'a bias below a ban': { logitBias: [[1, -100.5]] },
  'a bias over a hundred': { logitBias: [[1, 100.5]] },
  'a bias of no token': { logitBias: [[-1, 1]] },
  'a bias of two numbers': { logitBias: [[1, 1, 1]] },
  'two biases of one token': {
    logitBias: [
      [1, 1],
      [1, 2],
    ],
  },
  'more biases than there may be': {
    logitBias: Array.from({ length: MAX_LOGIT_BIASES + 1 }, (_, id) => [id, 1]),
  },
  'more log-probabilities than there may be': { topLogProbabilities: MAX_TOP_LOG_PROBABILITIES + 1 },
  'half a log-probability': { topLogProbabilities: 0.5 },
  'a negative least length': { minTokens: -1 },
};

/** An open frame for the hop behind the last: every hop of its route has made an offer. */
function offersOfEveryHop(): Uint8Array {
  const bytes = tampered(openFrame(49, [HASH], 16), (view) => view.setUint32(4, 2, true));
  return Uint8Array.from([...bytes.subarray(0, 16), ...bytes.subarray(8, 16), ...bytes.subarray(16)]);
}

/** A frame of sound size and order, whose first answer has one token more than there may be. */
function moreThanTheMostProbable(): Uint8Array {
  const most = Array.from({ length: MAX_TOP_LOG_PROBABILITIES }, (_, rank) => [100 + rank, -1] as const);
  const bytes = tampered(sampledFrame(most), (view) => {
    view.setUint8(4 + 24, MAX_TOP_LOG_PROBABILITIES + 1);
  });
  return Uint8Array.from([...bytes, ...bytes.subarray(-8)]);
}

/** Two answers, the first with these most probable tokens and the second with one. */
function sampledFrame(top: readonly (readonly [tokenId: number, logProbability: number])[]): Frame {
  const topLogProbabilities = top.map(([tokenId, logProbability]) => ({ tokenId, logProbability }));
  const base = { epoch: 0, position: 1, tokenId: 7, logProbability: -1 };
  return {
    type: 'sampled',
    sequences: [
      { ...base, requestId: FIRST, topLogProbabilities },
      {
        ...base,
        requestId: SECOND,
        topLogProbabilities: [{ tokenId: 9, logProbability: -3 }],
      },
    ],
  };
}

describe('a frame', () => {
  it('comes back as it was sent, whatever it says', () => {
    fc.assert(
      fc.property(anyFrame, (frame) => {
        expect(decodeFrame(encodeFrame(frame, 'f32'))).toEqual(frame);
      }),
      { numRuns: 500 },
    );
  });

  it('is read at any alignment and without keeping the bytes', () => {
    fc.assert(
      fc.property(anyFrame, fc.integer({ min: 1, max: 7 }), (frame, shift) => {
        const bytes = encodeFrame(frame, 'f32');
        const message = new Uint8Array(shift + bytes.length);
        message.set(bytes, shift);
        const decoded = decodeFrame(message.subarray(shift));
        message.fill(0xff);
        expect(decoded).toEqual(frame);
      }),
    );
  });

  it('has the documented bytes', () => {
    const frame: Frame = {
      type: 'sampled',
      sequences: [
        {
          requestId: FIRST,
          epoch: 0x0102,
          position: 3,
          tokenId: 0x01020304,
          logProbability: -0.5,
          topLogProbabilities: [{ tokenId: 0x0a0b, logProbability: -0.25 }],
        },
      ],
    };
    expect([...encodeFrame(frame, 'f16')]).toEqual([
      ...[3, 4, 1, 0],
      ...[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x02, 0x01, 0, 0, 3, 0, 0, 0],
      ...[0x04, 0x03, 0x02, 0x01],
      ...[0, 0, 0, 0xbf, 1, 0, 0, 0],
      ...[0x0b, 0x0a, 0, 0, 0, 0, 0x80, 0xbe],
    ]);
    expect([...encodeFrame(activations([1, -2]), 'f16')]).toEqual([
      ...[3, 3, 1, 0, 2, 0, 2, 0],
      ...[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 7, 0, 0, 0, 5, 0, 0, 0],
      ...[1, 0, 0, 0],
      ...[0x00, 0x3c, 0x00, 0xc0],
    ]);
  });

  it('has the documented bytes also where it opens and closes', () => {
    const request = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 7, 0, 0, 0];
    const opened: Frame = {
      type: 'opened',
      requestId: FIRST,
      epoch: 7,
      offers: [offer(0x0120, 5), offer(16, 0x0a0b)],
    };
    expect([...encodeFrame(opened, 'f16')]).toEqual([
      ...[3, 7, 0, 0],
      ...request,
      ...[2, 0, 0, 0],
      ...[0x20, 0x01, 0, 0, 5, 0, 0, 0],
      ...[16, 0, 0, 0, 0x0b, 0x0a, 0, 0],
    ]);
    const begin: Frame = { type: 'begin', requestId: FIRST, epoch: 7, starts: [0x0120, 16] };
    expect([...encodeFrame(begin, 'f16')]).toEqual([
      ...[3, 8, 0, 0],
      ...request,
      ...[2, 0, 0, 0],
      ...[0x20, 0x01, 0, 0, 16, 0, 0, 0],
    ]);
    const blockHashes = [HASH, 'f'.repeat(32)];
    expect([
      ...encodeFrame({ type: 'close', requestId: FIRST, epoch: 7, blockHashes, isMoved: true }, 'f16'),
    ]).toEqual([
      ...[3, 5, 0, 0],
      ...request,
      ...[2, 0, 0, 0, 1, 0, 0, 0],
      ...[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef],
      ...[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef],
      ...new Array<number>(16).fill(0xff),
    ]);
    const open = encodeFrame(openFrame(32, [HASH, HASH], 16), 'f16');
    expect([...open.subarray(0, 17)]).toEqual([
      ...[3, 1, 0, 0],
      ...[1, 0, 0, 0],
      ...[16, 0, 0, 0, 16, 0, 0, 0],
      '{'.charCodeAt(0),
    ]);
  });

  it('has the documented bytes also where it asks how far a request is', () => {
    const request = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 7, 0, 0, 0];
    const inquire: Frame = { type: 'inquire', requestId: FIRST, epoch: 7, nonce: 0x01020304 };
    expect([...encodeFrame(inquire, 'f16')]).toEqual([...[3, 9, 0, 0], ...request, ...[4, 3, 2, 1]]);
    expect([...encodeFrame(STATE, 'f16')]).toEqual([
      ...[3, 10, 0, 0],
      ...request,
      ...[4, 3, 2, 1],
      ...[9, 0, 0, 0],
      ...[33, 0, 0, 0],
      ...[32, 0, 0, 0],
      ...[0, 1, 0, 0],
      ...[0, 0, 0xc0, 0x3f],
    ]);
  });

  it('costs little more than its values at batch 1', () => {
    const frame = activations(Array.from({ length: 1024 }, (_, index) => index / 1024));
    expect(encodeFrame(frame, 'f16').length).toBe(1024 * 2 + 28);
  });

  it('rounds activations to f16 when asked, and travels as f32 when one of them does not fit', () => {
    expect(valuesAfterTravel(activations([1 + 2 ** -20, 65_504]), 'f16')).toEqual([1, 65_504]);
    const exact = [Math.fround(1 + 2 ** -20), Math.fround(65_504.5)];
    expect(valuesAfterTravel(activations(exact), 'f16')).toEqual(exact);
    expect(valuesAfterTravel(activations(exact), 'f32')).toEqual(exact);
  });

  it('carries the longest route there may be', () => {
    const hops = Array.from({ length: MAX_ROUTE_HOPS }, (_, layerStart) => ({
      peer: 'f'.repeat(32) as PeerId,
      layerStart: layerStart * 8,
      layerEnd: layerStart * 8 + 8,
    }));
    const ids = (count: number) => Array.from({ length: count }, (_, index) => 0xffff_ffff - index);
    const frame: Frame = {
      type: 'open',
      offers: new Array<StageOffer>(MAX_ROUTE_HOPS - 1).fill(offer(0, 1024 * 1024)),
      request: {
        constraint: {
          structuralTag: '\u0001'.repeat(MAX_CONSTRAINT_CHARACTERS),
          answer: ids(MAX_HISTORY_TOKENS),
        },
        keepsCache: false,
        epochKey: HASH,
        route: { requestId: FIRST, epoch: 0xffff, model: 'é'.repeat(200) as ModelId, hops },
        requester: 'f'.repeat(32) as PeerId,
        promptTokens: 1_000_000,
        blockHashes: new Array<string>(MAX_BLOCK_HASHES).fill('f'.repeat(32)),
        timeLimitMs: MAX_TIME_LIMIT_MS,
        maxTokens: 1_000_000,
        stopTokenIds: new Array<number>(MAX_STOP_TOKENS).fill(0xffff_ffff),
        sampling: {
          ...GREEDY,
          seed: 0xffff_ffff,
          logitBias: ids(MAX_LOGIT_BIASES).map((id): [number, number] => [id, -99.99999999999999]),
        },
        history: {
          prompt: ids(MAX_HISTORY_TOKENS),
          generated: ids(MAX_HISTORY_TOKENS).map((id): [number, number] => [id, 1024 * 1024]),
        },
      },
    };
    expect(decodeFrame(encodeFrame(frame, 'f16'))).toEqual(frame);
  });
});

describe('decoding', () => {
  it('yields a frame or bad-frame for any damage', { timeout: PROPERTY_TIMEOUT_MS }, () => {
    let refused = 0;
    const mutation = fc.record({
      frame: anyFrame,
      writes: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
      headerOnly: fc.boolean(),
      cut: fc.option(fc.nat(), { freq: 4 }),
      tail: fc.uint8Array({ maxLength: 3 }),
    });
    fc.assert(
      fc.property(mutation, ({ frame, writes, headerOnly, cut, tail }) => {
        const whole = encodeFrame(frame, 'f16');
        const bytes = Uint8Array.from([
          ...whole.subarray(0, cut === null ? whole.length : cut % whole.length),
          ...tail,
        ]);
        const reach = headerOnly ? Math.min(40, bytes.length) : bytes.length;
        for (const [at, value] of writes) if (reach > 0) bytes[at % reach] = value;
        const outcome = codeOf(() => encodeFrame(decodeFrame(bytes), 'f32'));
        if (outcome === 'bad-frame') refused += 1;
        expect(['bad-frame', 'no error']).toContain(outcome);
      }),
      { numRuns: FUZZED_FRAMES },
    );
    expect(refused).toBeGreaterThan(FUZZED_FRAMES / 4);
    expect(refused).toBeLessThan(FUZZED_FRAMES);
  });

  const twoRows = activations([1, 2, 3, 4], 2);
  const tokens: Frame = {
    type: 'tokens',
    sequences: [
      { requestId: FIRST, epoch: 0, position: 0, tokenIds: Uint32Array.of(1) },
      { requestId: SECOND, epoch: 0, position: 0, tokenIds: Uint32Array.of(2) },
    ],
  };
  const close: Frame = {
    type: 'close',
    requestId: FIRST,
    epoch: 1,
    blockHashes: ['0123456789abcdef'.repeat(2)],
    isMoved: false,
  };
  const opened: Frame = { type: 'opened', requestId: FIRST, epoch: 1, offers: [offer(64)] };
  const begin: Frame = { type: 'begin', requestId: FIRST, epoch: 1, starts: [64] };
  const inquire: Frame = { type: 'inquire', requestId: FIRST, epoch: 1, nonce: 1 };
  const failed: Frame = {
    type: 'failed',
    requestId: FIRST,
    epoch: 1,
    error: { code: 'busy', message: 'm', data: {} },
  };
  /** 4 of header, 2 · 28 of records, then tokens 4, 5 of the first and 9 of the second. */
  const sampled = sampledFrame([
    [4, -1],
    [5, -2],
  ]);
  const hostile: Record<string, Uint8Array> = {
    'nothing at all': new Uint8Array(0),
    'three bytes': Uint8Array.of(1, 2, 3),
    'another version': tampered(close, (view) => view.setUint8(0, 2)),
    'an unknown kind': tampered(close, (view) => view.setUint8(1, 11)),
    'sequences in a close': tampered(close, (view) => view.setUint16(2, 1, true)),
    'a trailing byte': Uint8Array.from([...encodeFrame(close, 'f16'), 0]),
    'no sequences': tampered(tokens, (view) => view.setUint16(2, 0, true)),
    'more sequences than bytes': tampered(tokens, (view) => view.setUint16(2, 200, true)),
    'more sequences than allowed': tampered(tokens, (view) => view.setUint16(2, 0xffff, true)),
    'a request twice': tampered(tokens, (_view, bytes) => bytes.copyWithin(24, 4, 12)),
    'rows of four billion': tampered(twoRows, (view) => view.setUint32(8 + 16, 0xffff_ffff, true)),
    'no rows': tampered(twoRows, (view) => view.setUint32(8 + 16, 0, true)),
    'one row too few': tampered(twoRows, (view) => view.setUint32(8 + 16, 1, true)),
    'a position past every sequence': tampered(twoRows, (view) => view.setUint32(8 + 12, 0xffff_ffff, true)),
    'a hidden size of zero': tampered(twoRows, (view) => view.setUint16(4, 0, true)),
    'an unknown format': tampered(twoRows, (view) => view.setUint8(6, 3)),
    'a reserved byte in use': tampered(twoRows, (view) => view.setUint8(7, 1)),
    'a reserved field in use': tampered(close, (view) => view.setUint16(4 + 10, 1, true)),
    'a NaN activation': tampered(twoRows, (view) => view.setFloat32(28, NaN, true)),
    'an infinite last activation': tampered(twoRows, (view) => view.setFloat32(28 + 12, -Infinity, true)),
    'a NaN in f16': ((bytes) => bytes.fill(0xff, 28))(encodeFrame(twoRows, 'f16')),
    'JSON that is not UTF-8': tampered(failed, (_view, bytes) => bytes.fill(0xff, 16)),
    'JSON that is not JSON': tampered(failed, (_view, bytes) => bytes.fill(0x7b, 16)),
    'JSON of something else': openBytes((request) => (request['route'] = null)),
    'JSON over the cap': Uint8Array.from([
      ...openBytes(() => undefined),
      ...new Uint8Array(MAX_FRAME_JSON_BYTES).fill(0x20),
    ]),
    'an open without its head': Uint8Array.of(3, 1, 0, 0, 0, 0, 0),
    'an open that is shorter than its offers': tampered(openFrame(49, [HASH], 16), () => undefined).subarray(
      0,
      15,
    ),
    'an open of four billion offers': tampered(openFrame(49, [HASH], 16), (view) =>
      view.setUint32(4, 0xffff_ffff, true),
    ),
    'an open that comes after its last hop': offersOfEveryHop(),
    'a journal past every sequence': tampered(openFrame(49, [HASH], 16), (view) =>
      view.setUint32(12, 1024 * 1024 + 1, true),
    ),
    'a key that is none': openBytes((request) => (request['epochKey'] = HASH.slice(1))),
    'keeping a cache by halves': openBytes((request) => (request['keepsCache'] = 1)),
    'more cached than the hashes name': tampered(openFrame(49, [HASH, HASH], 32), (view) =>
      view.setUint32(8, 48, true),
    ),
    'a prompt that is cached whole': tampered(openFrame(32, [HASH, HASH], 16), (view) =>
      view.setUint32(8, 32, true),
    ),
    'a part of a block cached': tampered(openFrame(33, [HASH, HASH], 32), (view) =>
      view.setUint32(8, 31, true),
    ),
    'more hashes than the prompt has blocks': openBytes((request) => (request['promptTokens'] = 31)),
    'a hash that is none': openBytes((request) => (request['blockHashes'] = [HASH.toUpperCase()])),
    'a hash that is too short': openBytes((request) => (request['blockHashes'] = [HASH.slice(1)])),
    'more hashes than there may be': openBytes((request) => {
      request['promptTokens'] = 1024 * 1024;
      request['blockHashes'] = new Array<string>(MAX_BLOCK_HASHES + 1).fill(HASH);
    }),
    ...Object.fromEntries(
      Object.entries(HOSTILE_SAMPLING).map(([name, fields]) => [
        name,
        openBytes((request) => (request['sampling'] = { ...GREEDY, ...fields })),
      ]),
    ),
    'a history that counts a token twice': openBytes((request) => {
      request['history'] = {
        prompt: [],
        generated: [
          [1, 1],
          [1, 1],
        ],
      };
    }),
    'a history of a token that was never said': openBytes((request) => {
      request['history'] = { prompt: [], generated: [[1, 0]] };
    }),
    'more history than there may be': openBytes((request) => {
      request['history'] = { prompt: new Array<number>(MAX_HISTORY_TOKENS + 1).fill(1), generated: [] };
    }),
    'no time at all': openBytes((request) => (request['timeLimitMs'] = 0)),
    'more time than there may be': openBytes((request) => (request['timeLimitMs'] = MAX_TIME_LIMIT_MS + 1)),
    'a close of more hashes than it has': tampered(close, (view) => view.setUint32(16, 2, true)),
    'a close of fewer hashes than it has': tampered(close, (view) => view.setUint32(16, 0, true)),
    'a close of four billion hashes': tampered(close, (view) => view.setUint32(16, 0xffff_ffff, true)),
    'a close of more hashes than there may be': Uint8Array.from([
      ...tampered(close, (view) => view.setUint32(16, MAX_BLOCK_HASHES + 1, true)).subarray(0, 24),
      ...new Uint8Array((MAX_BLOCK_HASHES + 1) * 16),
    ]),
    'a close without its head': tampered(close, () => undefined).subarray(0, 18),
    'a close that is moved twice': tampered(close, (view) => view.setUint32(20, 2, true)),
    'an opened of no whole block': tampered(opened, (view) => view.setUint32(20, 8, true)),
    'an opened past every sequence': tampered(opened, (view) => view.setUint32(20, 0xffff_fff0, true)),
    'an opened of nothing': tampered(opened, (view) => view.setUint32(16, 0, true)).subarray(0, 20),
    'an opened of more offers than it has': tampered(opened, (view) => view.setUint32(16, 2, true)),
    'an opened of more hops than there may be': Uint8Array.from([
      ...tampered(opened, (view) => view.setUint32(16, MAX_ROUTE_HOPS + 1, true)).subarray(0, 20),
      ...new Uint8Array((MAX_ROUTE_HOPS + 1) * 8),
    ]),
    'a begin of no whole block': tampered(begin, (view) => view.setUint32(20, 63, true)),
    'a begin past every sequence': tampered(begin, (view) => view.setUint32(20, 0xffff_fff0, true)),
    'a begin of nobody': tampered(begin, (view) => view.setUint32(16, 0, true)).subarray(0, 20),
    'a begin of more starts than it has': tampered(begin, (view) => view.setUint32(16, 2, true)),
    'a begin of more hops than there may be': Uint8Array.from([
      ...tampered(begin, (view) => view.setUint32(16, MAX_ROUTE_HOPS + 1, true)).subarray(0, 20),
      ...new Uint8Array((MAX_ROUTE_HOPS + 1) * 4),
    ]),
    'an inquiry that is too long': Uint8Array.from([...encodeFrame(inquire, 'f16'), 0]),
    'an inquiry without a nonce': encodeFrame(inquire, 'f16').subarray(0, 16),
    'a state of a hop that no route has': tampered(STATE, (view) => view.setUint32(20, MAX_ROUTE_HOPS, true)),
    'a state that received more than there is': tampered(STATE, (view) =>
      view.setUint32(24, 1024 * 1024 + 1, true),
    ),
    'a state that sent more than there is': tampered(STATE, (view) =>
      view.setUint32(28, 1024 * 1024 + 1, true),
    ),
    'a state of endless steps': tampered(STATE, (view) => view.setFloat32(36, Infinity, true)),
    'a state of steps of no value': tampered(STATE, (view) => view.setFloat32(36, NaN, true)),
    'a state of steps that go back in time': tampered(STATE, (view) => view.setFloat32(36, -1, true)),
    'a state that is cut': encodeFrame(STATE, 'f16').subarray(0, 36),
    'an opened that is too long': Uint8Array.from([...encodeFrame(opened, 'f16'), 0]),
    'one most probable token too many, and all of them there': moreThanTheMostProbable(),
    'a count of most probable tokens that are not there': tampered(sampled, (view) => {
      view.setUint8(4 + 24, 3);
    }),
    'most probable tokens that nobody counted': tampered(sampled, (view) => view.setUint8(4 + 24, 1)),
    'a reserved byte of a sampled token': tampered(sampled, (view) => view.setUint8(4 + 27, 1)),
    'most probable tokens out of order': tampered(sampled, (view) => view.setFloat32(64, -9, true)),
    'a most probable token twice': tampered(sampled, (view) => view.setUint32(68, 4, true)),
    'a most probable token of no value': tampered(sampled, (view) => view.setFloat32(72, NaN, true)),
    'a frame over the cap': new Uint8Array(MAX_FRAME_BYTES + 1).fill(1),
  };
  it('takes what the hostile frames are made of', () => {
    for (const sound of [twoRows, tokens, sampled, close, opened, begin, inquire, STATE, failed])
      decodeFrame(encodeFrame(sound, 'f32'));
    expect(decodeFrame(openBytes(() => undefined))).toMatchObject({ type: 'open', offers: [offer(32)] });
  });

  it.each(Object.entries(hostile))('refuses %s', (_name, bytes) => {
    expect(codeOf(() => decodeFrame(bytes))).toBe('bad-frame');
  });
});

describe('encoding refuses what no receiver would take', () => {
  const base = { requestId: FIRST, epoch: 0, position: 0 };
  const refused: Record<string, Frame> = {
    'no sequences': { type: 'tokens', sequences: [] },
    'a request twice': {
      type: 'tokens',
      sequences: [
        { ...base, tokenIds: Uint32Array.of(1) },
        { ...base, tokenIds: Uint32Array.of(2) },
      ],
    },
    'an infinite activation': activations([1, Infinity]),
    'a NaN activation': activations([NaN, 1]),
    'values that are not rows': {
      type: 'activations',
      hiddenSize: 4,
      sequences: [{ ...base, rows: 1, values: new Float32Array(3) }],
    },
    'too many rows': activations(new Array<number>(MAX_FRAME_ROWS + 1).fill(0), 1),
    'a log-probability of no value': {
      type: 'sampled',
      sequences: [{ ...base, tokenId: 1, logProbability: NaN, topLogProbabilities: [] }],
    },
    'more most probable tokens than there may be': sampledFrame(
      Array.from({ length: MAX_TOP_LOG_PROBABILITIES + 1 }, (_, rank) => [rank, -rank]),
    ),
    'most probable tokens out of order': sampledFrame([
      [1, -2],
      [2, -1],
    ]),
    'a most probable token twice': sampledFrame([
      [1, -1],
      [1, -2],
    ]),
    'a most probable token of no probability': sampledFrame([[1, -Infinity]]),
    'a most probable token that is no u32': sampledFrame([[2 ** 32, -1]]),
    'a request id that is none': { ...CLOSE, requestId: 'xyz' as RequestId },
    'an epoch out of range': { ...CLOSE, epoch: 0x1_0000 },
    'cached tokens that no hash names': openFrame(49, [HASH], 32),
    'the last token of a prompt cached': openFrame(16, [HASH], 16),
    'a part of a block cached': openFrame(33, [HASH], 8),
    'an opened of no whole block': { type: 'opened', requestId: FIRST, epoch: 0, offers: [offer(8)] },
    'an opened of nothing': { type: 'opened', requestId: FIRST, epoch: 0, offers: [] },
    'an opened of half a journal': { type: 'opened', requestId: FIRST, epoch: 0, offers: [offer(16, 0.5)] },
    'a begin of no whole block': { type: 'begin', requestId: FIRST, epoch: 0, starts: [8] },
    'a begin of nobody': { type: 'begin', requestId: FIRST, epoch: 0, starts: [] },
    'a begin of more hops than there may be': {
      type: 'begin',
      requestId: FIRST,
      epoch: 0,
      starts: new Array<number>(MAX_ROUTE_HOPS + 1).fill(0),
    },
    'a nonce that is no u32': { type: 'inquire', requestId: FIRST, epoch: 0, nonce: 2 ** 32 },
    'a state of a hop that no route has': { ...STATE, hop: MAX_ROUTE_HOPS },
    'a state of endless steps': { ...STATE, typicalStepMs: Infinity },
    'a state of steps that overflow': { ...STATE, typicalStepMs: 1e300 },
    'a state of steps that go back in time': { ...STATE, typicalStepMs: -1 },
    'a hash that is none': { ...CLOSE, blockHashes: ['0'] },
    'more hashes than there may be': {
      ...CLOSE,
      blockHashes: new Array<string>(MAX_BLOCK_HASHES + 1).fill(HASH),
    },
    'a negative position': {
      type: 'tokens',
      sequences: [{ ...base, position: -1, tokenIds: Uint32Array.of(1) }],
    },
  };
  it.each(Object.entries(refused))('%s', (_name, frame) => {
    expect(codeOf(() => encodeFrame(frame, 'f16'))).toBe('bad-argument');
  });

  it('but always tells a failure, cut to size', () => {
    const error = {
      code: 'internal',
      message: 'x'.repeat(5000),
      data: { rate: NaN, big: 'y'.repeat(5000) },
    } as const;
    const decoded = decodeFrame(encodeFrame({ type: 'failed', requestId: FIRST, epoch: 3, error }, 'f16'));
    expect(decoded).toStrictEqual({
      type: 'failed',
      requestId: FIRST,
      epoch: 3,
      error: { code: 'internal', message: 'x'.repeat(2000) },
    });
  });
});

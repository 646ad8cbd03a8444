import fc from 'fast-check';
import { ERROR_CODES } from '../../../src/protocol/errors.ts';
import type { Frame } from '../../../src/protocol/frames.ts';
import type { ModelId, PeerId, RequestId } from '../../../src/protocol/ids.ts';
import {
  MAX_SEQUENCE_TOKENS,
  MAX_TIME_LIMIT_MS,
  MAX_TOP_LOG_PROBABILITIES,
} from '../../../src/protocol/limits.ts';
import type { Hop } from '../../../src/protocol/route.ts';
import { BLOCK_TOKENS, cacheableTokens } from '../../../src/protocol/stage.ts';

const hex = (digits: number) =>
  fc
    .array(fc.integer({ min: 0, max: 15 }), { minLength: digits, maxLength: digits })
    .map((nibbles) => nibbles.map((nibble) => nibble.toString(16)).join(''));

const anyRequestId = hex(16) as fc.Arbitrary<RequestId>;
const anyPeerId = hex(32) as fc.Arbitrary<PeerId>;
const anyEpoch = fc.integer({ min: 0, max: 0xffff });
const anyU32 = fc.integer({ min: 0, max: 0xffff_ffff });
const anyPosition = fc.integer({ min: 0, max: 1_000_000 });
const anyFiniteF32 = fc.float({ noNaN: true, noDefaultInfinity: true });

const sequencesOf = <Extra>(extra: fc.Arbitrary<Extra>) =>
  fc.uniqueArray(
    fc
      .tuple(fc.record({ requestId: anyRequestId, epoch: anyEpoch, position: anyPosition }), extra)
      .map(([sequence, rest]) => ({ ...sequence, ...rest })),
    { minLength: 1, maxLength: 6, selector: ({ requestId }) => requestId },
  );

const anyRows = (hiddenSize: number) =>
  fc
    .integer({ min: 1, max: 4 })
    .chain((rows) =>
      fc
        .array(anyFiniteF32, { minLength: rows * hiddenSize, maxLength: rows * hiddenSize })
        .map((values) => ({ rows, values: Float32Array.from(values) })),
    );

const anyHops: fc.Arbitrary<Hop[]> = fc
  .array(fc.tuple(anyPeerId, fc.integer({ min: 1, max: 40 })), { minLength: 1, maxLength: 8 })
  .map((stages) => {
    let layerEnd = 0;
    return stages.map(([peer, layers]) => {
      const layerStart = layerEnd;
      layerEnd += layers;
      return { peer, layerStart, layerEnd };
    });
  });

const anyTokens: fc.Arbitrary<Frame> = sequencesOf(
  fc
    .array(anyU32, { minLength: 1, maxLength: 20 })
    .map((tokenIds) => ({ tokenIds: Uint32Array.from(tokenIds) })),
).map((sequences) => ({ type: 'tokens', sequences }));

const anyActivations: fc.Arbitrary<Frame> = fc
  .integer({ min: 1, max: 12 })
  .chain((hiddenSize) =>
    sequencesOf(anyRows(hiddenSize)).map((sequences) => ({ type: 'activations', hiddenSize, sequences })),
  );

const anyTop = fc
  .uniqueArray(fc.record({ tokenId: anyU32, logProbability: anyFiniteF32 }), {
    maxLength: MAX_TOP_LOG_PROBABILITIES,
    selector: ({ tokenId }) => tokenId,
  })
  .map((top) => top.sort((a, b) => b.logProbability - a.logProbability));

const anySampled: fc.Arbitrary<Frame> = sequencesOf(
  fc.record({ tokenId: anyU32, logProbability: anyFiniteF32, topLogProbabilities: anyTop }),
).map((sequences) => ({ type: 'sampled', sequences }));

/** JSON has one zero. */
const anyNumber = (min: number, max: number) =>
  fc.double({ min, max, noNaN: true }).map((value) => (value === 0 ? 0 : value));
const anyFraction = anyNumber(0, 1);
const anyPenalty = anyNumber(-2, 2);
const anyBias = anyNumber(-100, 100);

const anyOffer = (cacheable: number) =>
  fc.record({
    cachedTokens: fc
      .integer({ min: 0, max: cacheable / BLOCK_TOKENS })
      .map((blocks) => blocks * BLOCK_TOKENS),
    journalFrom: fc.integer({ min: 0, max: MAX_SEQUENCE_TOKENS }),
  });

const anyOpen: fc.Arbitrary<Frame> = fc
  .record({
    route: fc.record({
      requestId: anyRequestId,
      epoch: anyEpoch,
      model: fc.string({ minLength: 1, maxLength: 40 }) as fc.Arbitrary<ModelId>,
      hops: anyHops,
    }),
    requester: anyPeerId,
    promptTokens: fc.integer({ min: 1, max: 1000 }),
    maxTokens: fc.integer({ min: 1, max: 1000 }),
    stopTokenIds: fc.array(anyU32, { maxLength: 5 }),
    timeLimitMs: fc.integer({ min: 1, max: MAX_TIME_LIMIT_MS }),
    sampling: fc.record({
      temperature: fc.double({ min: 0, max: 100, noNaN: true }).map(Math.abs),
      topK: anyU32,
      topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
      minP: anyFraction,
      repetitionPenalty: fc.double({ min: 0.01, max: 100, noNaN: true }),
      presencePenalty: anyPenalty,
      frequencyPenalty: anyPenalty,
      logitBias: fc.uniqueArray(fc.tuple(anyU32, anyBias), { maxLength: 5, selector: ([id]) => id }),
      topLogProbabilities: fc.integer({ min: 0, max: 20 }),
      minTokens: fc.integer({ min: 0, max: 1000 }),
      seed: anyU32,
    }),
    history: fc.record({
      prompt: fc.array(anyU32, { maxLength: 5 }),
      generated: fc.uniqueArray(fc.tuple(anyU32, fc.integer({ min: 1, max: 1000 })), {
        maxLength: 5,
        selector: ([id]) => id,
      }),
    }),
    constraint: fc.option(
      fc.record({
        structuralTag: fc.string({ minLength: 1, maxLength: 40 }),
        answer: fc.array(anyU32, { maxLength: 5 }),
      }),
    ),
    keepsCache: fc.boolean(),
    epochKey: hex(32),
  })
  .chain((request) =>
    fc
      .array(hex(32), { maxLength: Math.min(8, Math.floor(request.promptTokens / BLOCK_TOKENS)) })
      .map((blockHashes) => ({ ...request, blockHashes })),
  )
  .chain((request) =>
    fc
      .array(anyOffer(cacheableTokens(request)), { maxLength: request.route.hops.length - 1 })
      .map((offers) => ({ type: 'open', request, offers })),
  );

const anyOpened: fc.Arbitrary<Frame> = fc
  .record({
    requestId: anyRequestId,
    epoch: anyEpoch,
    offers: fc.array(anyOffer(960_000), { minLength: 1, maxLength: 8 }),
  })
  .map((request) => ({ type: 'opened', ...request }));

const anyBegin: fc.Arbitrary<Frame> = fc
  .record({
    requestId: anyRequestId,
    epoch: anyEpoch,
    starts: fc.array(
      fc.integer({ min: 0, max: 60_000 }).map((blocks) => blocks * BLOCK_TOKENS),
      { minLength: 1, maxLength: 8 },
    ),
  })
  .map((request) => ({ type: 'begin', ...request }));

const anyInquire: fc.Arbitrary<Frame> = fc
  .record({ requestId: anyRequestId, epoch: anyEpoch, nonce: anyU32 })
  .map((request) => ({ type: 'inquire', ...request }));

const anyState: fc.Arbitrary<Frame> = fc
  .record({
    requestId: anyRequestId,
    epoch: anyEpoch,
    nonce: anyU32,
    hop: fc.integer({ min: 0, max: 127 }),
    receivedUpTo: anyPosition,
    sentUpTo: anyPosition,
    steps: anyU32,
    typicalStepMs: fc.float({ min: 0, noNaN: true, noDefaultInfinity: true }).map(Math.abs),
  })
  .map((request) => ({ type: 'state', ...request }));

const anyClose: fc.Arbitrary<Frame> = fc
  .record({
    requestId: anyRequestId,
    epoch: anyEpoch,
    blockHashes: fc.array(hex(32), { maxLength: 5 }),
    isMoved: fc.boolean(),
  })
  .map((request) => ({ type: 'close', ...request }));

const anyFailed: fc.Arbitrary<Frame> = fc
  .record({
    requestId: anyRequestId,
    epoch: anyEpoch,
    error: fc.record({
      code: fc.constantFrom(...ERROR_CODES),
      message: fc.string({ maxLength: 200 }),
      data: fc.constantFrom({}, { peer: 'x', count: 3, fatal: true }),
    }),
  })
  .map((failure) => ({ type: 'failed', ...failure }));

export const anyFrame: fc.Arbitrary<Frame> = fc.oneof(
  anyTokens,
  anyActivations,
  anySampled,
  anyOpen,
  anyOpened,
  anyBegin,
  anyInquire,
  anyState,
  anyClose,
  anyFailed,
);

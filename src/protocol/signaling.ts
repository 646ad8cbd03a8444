import * as v from 'valibot';
import { ACTIVATIONS } from './activations.ts';
import { CACHE_FORMATS } from './cache-format.ts';
import { ERROR_CODES, SkeinError } from './errors.ts';
import { jsonDepth } from './json-depth.ts';
import {
  MAX_CACHED_SLICES,
  MAX_HIDDEN_SIZE,
  MAX_PROBED_PEERS,
  MAX_REPORTED_LINKS,
  MAX_RESUME_TOKEN_CHARACTERS,
  MAX_SEQUENCE_TOKENS,
  MAX_SERVER_SIGNALING_BYTES,
  MAX_SIGNALING_BYTES,
  MAX_SIGNALING_DEPTH,
  MAX_TIME_LIMIT_MS,
  MIN_LINK_BYTES_PER_SECOND,
  MIN_MATMUL_FLOPS_PER_SECOND,
  MIN_MATVEC_BYTES_PER_SECOND,
  MIN_MEMORY_BYTES,
} from './limits.ts';
import { QUANTIZATIONS } from './quantization.ts';
import { refusedField } from './refused-field.ts';
import { layerRangeEntries, modelIdSchema, peerIdSchema, requestIdSchema, routeSchema } from './route.ts';

/** Raised when either side must understand something new; a mismatch is refused in words. */
export const SIGNALING_VERSION = 6;

/** With which the server closes a socket whose peer has connected anew. */
export const REPLACED_CLOSE_CODE = 4001;

const text = (maxLength: number) => v.pipe(v.string(), v.maxLength(maxLength));
/** JSON has numbers that are read as infinity, and cannot be written again. */
const finite = v.pipe(v.number(), v.finite());
const count = v.pipe(finite, v.minValue(0));
const nonce = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0), v.maxValue(1e18));
const atLeast = (least: number) => v.pipe(v.number(), v.finite(), v.minValue(least), v.maxValue(1e18));

/** The form of an error from outside. */
export const errorShapeSchema = v.object({
  code: v.picklist(ERROR_CODES),
  message: text(2000),
  data: v.exactOptional(v.record(text(100), v.union([text(1000), finite, v.boolean()]))),
});

/** What a tab measured about itself when it joined. Inputs of placement. */
export const capabilitySchema = v.object({
  /** Bytes the tab is willing and able to allocate for weights and cache. */
  memoryBytes: atLeast(MIN_MEMORY_BYTES),
  /** Measured matrix × vector read rate; decode speed is proportional to it. */
  matvecBytesPerSecond: atLeast(MIN_MATVEC_BYTES_PER_SECOND),
  /** Measured matrix × matrix rate; prefill speed is proportional to it. */
  matmulFlopsPerSecond: atLeast(MIN_MATMUL_FLOPS_PER_SECOND),
  /** Adapter name, for people. */
  adapter: text(200),
});
export type Capability = v.InferOutput<typeof capabilitySchema>;

/** What placement and pages need to know of a model; sizes in bytes as a slice holds them. */
export const modelCardSchema = v.object({
  id: modelIdSchema,
  /** Folder of config.json and the weights, or a GGUF file in its folder; absolute, or relative to the server. */
  url: text(2000),
  /** What stages do to the matrices when they load them. */
  quantization: v.picklist(QUANTIZATIONS),
  /** How stages keep keys and values. */
  cache: v.picklist(CACHE_FORMATS),
  /** What quantised matrices are multiplied with. */
  activations: v.picklist(ACTIVATIONS),
  layerCount: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1024)),
  /** Width of an activation row, which is what travels from hop to hop. */
  hiddenSize: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_HIDDEN_SIZE)),
  contextLength: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_SEQUENCE_TOKENS)),
  bytesPerLayer: positive,
  embeddingBytes: count,
  headBytes: count,
  /** Multiplications of one token with the weights of one layer, and with those of the head. */
  multiplyAddsPerLayer: positive,
  headMultiplyAdds: count,
  /** Key-value cache of one token in one layer, as `cache` keeps it. */
  cacheBytesPerTokenPerLayer: positive,
  /** It is being removed: answers on it are finished, and no new ones begin. */
  isDraining: v.exactOptional(v.boolean()),
});
export type ModelCard = v.InferOutput<typeof modelCardSchema>;

const memberSchema = v.object({
  peer: peerIdSchema,
  model: modelIdSchema,
  ...layerRangeEntries,
  state: v.picklist(['loading', 'serving', 'suspect']),
  /** Of a suspect: what others found, in words. */
  suspicion: v.exactOptional(text(500)),
  adapter: text(200),
});
/** One contributor as everybody sees it. */
export type MeshMember = v.InferOutput<typeof memberSchema>;

const sliceEntries = { model: modelIdSchema, ...layerRangeEntries };
const sliceNameSchema = v.object(sliceEntries);
/** Layers of a model. */
export type SliceName = v.InferOutput<typeof sliceNameSchema>;

const layerWishSchema = v.pipe(
  v.object({
    /** By default the first that the server offers. */
    model: v.exactOptional(modelIdSchema),
    ...layerRangeEntries,
  }),
  v.check((wish) => wish.layerStart < wish.layerEnd, 'a wish must be for at least one layer'),
);
/** Layers that the owner of a device wants it to hold, and no others. */
export type LayerWish = v.InferOutput<typeof layerWishSchema>;

const turn = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));

/** Work of a stage since its last report. */
const stageReportSchema = v.object({
  ...sliceEntries,
  /** Forward passes, the token rows in them, and the time they took. */
  steps: count,
  rows: count,
  busySeconds: count,
  /** Time since the last report. */
  seconds: positive,
  /** Requests that hold cache now, and the tokens of cache nobody holds. */
  activeSequences: count,
  freeCacheTokens: count,
  cacheTokens: count,
});
export type StageReport = v.InferOutput<typeof stageReportSchema>;

const linkReportSchema = v.object({
  peer: peerIdSchema,
  rttSeconds: v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(60)),
  /** Null before enough was sent to tell. */
  bytesPerSecond: v.nullable(atLeast(MIN_LINK_BYTES_PER_SECOND)),
});
export type LinkReport = v.InferOutput<typeof linkReportSchema>;

const iceServerSchema = v.object({
  urls: v.union([text(500), v.array(text(500))]),
  username: v.exactOptional(text(500)),
  credential: v.exactOptional(text(500)),
});
export type IceServer = v.InferOutput<typeof iceServerSchema>;

export const clientMessageSchema = v.variant('type', [
  v.object({
    type: v.literal('hello'),
    version: finite,
    /** Who this was before the connection broke: a server that gave the token, even before a restart, gives the same id again. */
    resume: v.exactOptional(v.object({ peer: peerIdSchema, token: text(MAX_RESUME_TOKEN_CHARACTERS) })),
  }),
  /** Lends this peer's device. Answered by `assign` now or when there is work for it. */
  v.object({
    type: v.literal('join'),
    capability: capabilitySchema,
    /** Slices whose weights this peer still has, the latest first. */
    cached: v.pipe(v.array(sliceNameSchema), v.maxLength(MAX_CACHED_SLICES)),
    /** The slice that answers here already, after a connection broke; the server leaves it where it can. */
    holds: v.exactOptional(sliceNameSchema),
    /** It is given these layers or, where it cannot hold them, an `error` that says why. */
    wish: v.exactOptional(layerWishSchema),
  }),
  /** What this peer measured since its last report. Sent every few seconds by peers that lend their device. */
  v.object({
    type: v.literal('report'),
    stage: v.nullable(stageReportSchema),
    links: v.pipe(v.array(linkReportSchema), v.maxLength(MAX_REPORTED_LINKS)),
    /** What may make this peer slow, or end it, soon. */
    hints: v.exactOptional(v.object({ isHidden: v.boolean(), isOnBattery: v.boolean() })),
  }),
  /** The assigned slice is loaded and answers. */
  v.object({ type: v.literal('serving'), ...sliceEntries, turn: v.exactOptional(turn) }),
  v.object({ type: v.literal('load-failed'), error: errorShapeSchema }),
  /** The slice that served is lost with its device and is loaded again; `serving` follows. Until then no route leads here. */
  v.object({ type: v.literal('reloading'), ...sliceEntries, error: errorShapeSchema }),
  /** The answer to `roll-call`. */
  v.object({ type: v.literal('present'), nonce }),
  v.object({ type: v.literal('leave') }),
  v.object({
    type: v.literal('route-request'),
    requestId: requestIdSchema,
    model: modelIdSchema,
    epoch: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff)),
    /** Peers the requester found dead or wrong. */
    exclude: v.pipe(v.array(peerIdSchema), v.maxLength(64)),
    /** Of prompt and answer, at most: the cache it may come to take on each hop. */
    tokens: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_SEQUENCE_TOKENS)),
    /** What is left of the requester's patience. A route that is not ended by then is taken back. */
    timeLimitMs: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_TIME_LIMIT_MS)),
  }),
  /** After a connection broke: a route that is still in use, so that its hops' load is counted. */
  v.object({
    type: v.literal('route-resume'),
    route: routeSchema,
    tokens: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_SEQUENCE_TOKENS)),
    timeLimitMs: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_TIME_LIMIT_MS)),
  }),
  /**
   * A hop of this peer's request failed it: the server gives this requester other hops, and asks the accused. Without a
   * request, this peer cut the other off for what it sent over their link, which is for the log, and for routes of this one.
   */
  v.object({
    type: v.literal('suspect'),
    requestId: v.exactOptional(requestIdSchema),
    peer: peerIdSchema,
    error: errorShapeSchema,
  }),
  v.object({
    type: v.literal('route-end'),
    requestId: requestIdSchema,
    /** What came over the last route: tokens after the first, and the time they took. Absent when there were none. */
    outcome: v.exactOptional(v.object({ tokens: positive, seconds: positive })),
  }),
  /** Relayed to `to` unread; the server stamps who sent it. */
  v.object({ type: v.literal('signal'), to: peerIdSchema, data: v.unknown() }),
]);
export type ClientMessage = v.InferOutput<typeof clientMessageSchema>;

export const serverMessageSchema = v.variant('type', [
  v.object({
    type: v.literal('welcome'),
    version: finite,
    peer: peerIdSchema,
    models: v.array(modelCardSchema),
    iceServers: v.array(iceServerSchema),
    /** With which a later `hello` gets the same id. */
    resumeToken: v.exactOptional(text(MAX_RESUME_TOKEN_CHARACTERS)),
    /** Whether the operator wants all links to go over a TURN server. */
    isRelayOnly: v.exactOptional(v.boolean()),
  }),
  /** Models came or went: these are all there are now. */
  v.object({ type: v.literal('models'), models: v.array(modelCardSchema) }),
  /** New credentials for the relays; those of `welcome` end some time. */
  v.object({ type: v.literal('ice-servers'), iceServers: v.array(iceServerSchema) }),
  /** Whether this peer is alive, and not only its socket: answered with `present` at once. */
  v.object({ type: v.literal('roll-call'), nonce }),
  v.object({
    type: v.literal('assign'),
    ...sliceEntries,
    /** Where the peer loaded this slice before and was told otherwise: `serving` repeats it, so that word of then does not count. */
    turn: v.exactOptional(turn),
  }),
  /** There is no work for this peer now; it frees its slice and waits. */
  v.object({ type: v.literal('unassign') }),
  v.object({ type: v.literal('route'), route: routeSchema }),
  v.object({ type: v.literal('route-denied'), requestId: requestIdSchema, error: errorShapeSchema }),
  /**
   * The mesh is full; the route follows when its turn has come. Sent again whenever the position changes.
   */
  v.object({
    type: v.literal('route-queued'),
    requestId: requestIdSchema,
    /** 1 is next. */
    position: v.pipe(v.number(), v.integer(), v.minValue(1)),
  }),
  /** Asks a peer that lends its device for the round trips to these, in its next report. */
  v.object({ type: v.literal('probe'), peers: v.pipe(v.array(peerIdSchema), v.maxLength(MAX_PROBED_PEERS)) }),
  v.object({ type: v.literal('signal'), from: peerIdSchema, data: v.unknown() }),
  /** Sent on every change: who holds what, and which models have every layer served. */
  v.object({ type: v.literal('mesh'), members: v.array(memberSchema), covered: v.array(modelIdSchema) }),
  v.object({ type: v.literal('error'), error: errorShapeSchema }),
]);
export type ServerMessage = v.InferOutput<typeof serverMessageSchema>;

/** @throws SkeinError `bad-message` naming the field, for anything that is not a client message. */
export function decodeClientMessage(json: string): ClientMessage {
  return decode(clientMessageSchema, json, MAX_SIGNALING_BYTES);
}

/** @throws SkeinError `bad-message` naming the field, for anything that is not a server message. */
export function decodeServerMessage(json: string): ServerMessage {
  return decode(serverMessageSchema, json, MAX_SERVER_SIGNALING_BYTES);
}

function decode<Schema extends typeof clientMessageSchema | typeof serverMessageSchema>(
  schema: Schema,
  json: string,
  maxCharacters: number,
): v.InferOutput<Schema> {
  if (json.length > maxCharacters) {
    throw new SkeinError(
      'bad-message',
      `A signaling message of ${json.length} characters is over the limit of ${maxCharacters}.`,
    );
  }
  if (jsonDepth(json) > MAX_SIGNALING_DEPTH) {
    throw new SkeinError(
      'bad-message',
      `A signaling message is nested more than ${MAX_SIGNALING_DEPTH} deep.`,
    );
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (cause) {
    throw new SkeinError('bad-message', 'A signaling message is not JSON.', { cause });
  }
  const result = v.safeParse(schema, parsed);
  if (!result.success) {
    const { field, reason } = refusedField(result.issues);
    throw new SkeinError('bad-message', `Signaling message field "${field || 'type'}": ${reason}`, {
      data: { field: field || 'type' },
    });
  }
  return result.output;
}

import * as v from 'valibot';
import { ERROR_CODES, SkeinError } from './errors.ts';
import { MAX_SEQUENCE_TOKENS, MAX_SERVER_SIGNALING_BYTES, MAX_SIGNALING_BYTES } from './limits.ts';
import { QUANTIZATIONS } from './quantization.ts';
import { layerRangeEntries, modelIdSchema, peerIdSchema, requestIdSchema, routeSchema } from './route.ts';

/** Raised when either side must understand something new; a mismatch is refused in words. */
export const SIGNALING_VERSION = 2;

const text = (maxLength: number) => v.pipe(v.string(), v.maxLength(maxLength));
const count = v.pipe(v.number(), v.finite(), v.minValue(0));
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0), v.maxValue(1e18));

/** The form of an error from outside. */
export const errorShapeSchema = v.object({
  code: v.picklist(ERROR_CODES),
  message: text(2000),
  data: v.exactOptional(v.record(text(100), v.union([text(1000), v.number(), v.boolean()]))),
});

/** What a tab measured about itself when it joined. Inputs of placement. */
export const capabilitySchema = v.object({
  /** Bytes the tab is willing and able to allocate for weights and cache. */
  memoryBytes: positive,
  /** Measured matrix × vector read rate; decode speed is proportional to it. */
  matvecBytesPerSecond: positive,
  /** Measured matrix × matrix rate; prefill speed is proportional to it. */
  matmulFlopsPerSecond: positive,
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
  layerCount: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1024)),
  contextLength: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_SEQUENCE_TOKENS)),
  bytesPerLayer: positive,
  embeddingBytes: count,
  headBytes: count,
  /** Key-value cache of one token in one layer, f32. */
  cacheBytesPerTokenPerLayer: positive,
});
export type ModelCard = v.InferOutput<typeof modelCardSchema>;

const memberSchema = v.object({
  peer: peerIdSchema,
  model: modelIdSchema,
  ...layerRangeEntries,
  state: v.picklist(['loading', 'serving']),
  adapter: text(200),
});
/** One contributor as everybody sees it. */
export type MeshMember = v.InferOutput<typeof memberSchema>;

const iceServerSchema = v.object({
  urls: v.union([text(500), v.array(text(500))]),
  username: v.exactOptional(text(500)),
  credential: v.exactOptional(text(500)),
});
export type IceServer = v.InferOutput<typeof iceServerSchema>;

export const clientMessageSchema = v.variant('type', [
  v.object({ type: v.literal('hello'), version: v.number() }),
  /** Lends this peer's device. Answered by `assign` now or when there is work for it. */
  v.object({ type: v.literal('join'), capability: capabilitySchema }),
  /** The assigned slice is loaded and answers. */
  v.object({ type: v.literal('serving'), model: modelIdSchema, ...layerRangeEntries }),
  v.object({ type: v.literal('load-failed'), error: errorShapeSchema }),
  v.object({ type: v.literal('leave') }),
  v.object({
    type: v.literal('route-request'),
    requestId: requestIdSchema,
    model: modelIdSchema,
    epoch: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff)),
    /** Peers the requester found dead or wrong. */
    exclude: v.pipe(v.array(peerIdSchema), v.maxLength(64)),
  }),
  v.object({ type: v.literal('route-end'), requestId: requestIdSchema }),
  /** Relayed to `to` unread; the server stamps who sent it. */
  v.object({ type: v.literal('signal'), to: peerIdSchema, data: v.unknown() }),
]);
export type ClientMessage = v.InferOutput<typeof clientMessageSchema>;

export const serverMessageSchema = v.variant('type', [
  v.object({
    type: v.literal('welcome'),
    version: v.number(),
    peer: peerIdSchema,
    models: v.array(modelCardSchema),
    iceServers: v.array(iceServerSchema),
  }),
  v.object({ type: v.literal('assign'), model: modelIdSchema, ...layerRangeEntries }),
  /** There is no work for this peer now; it frees its slice and waits. */
  v.object({ type: v.literal('unassign') }),
  v.object({ type: v.literal('route'), route: routeSchema }),
  v.object({ type: v.literal('route-denied'), requestId: requestIdSchema, error: errorShapeSchema }),
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
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (cause) {
    throw new SkeinError('bad-message', 'A signaling message is not JSON.', { cause });
  }
  const result = v.safeParse(schema, parsed);
  if (!result.success) {
    const [issue] = result.issues;
    const field = v.getDotPath(issue) ?? 'type';
    throw new SkeinError('bad-message', `Signaling message field "${field}": ${issue.message}`, {
      data: { field },
    });
  }
  return result.output;
}

import * as v from 'valibot';
import { MAX_ROUTE_HOPS } from './limits.ts';
import { PEER_ID_PATTERN, REQUEST_ID_PATTERN } from './ids.ts';
import type { ModelId, PeerId, RequestId } from './ids.ts';

const LAYERS_PER_MODEL_MAX = 1024;
const layer = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(LAYERS_PER_MODEL_MAX));

export const peerIdSchema = v.pipe(
  v.string(),
  v.regex(PEER_ID_PATTERN),
  v.transform((text) => text as PeerId),
);
export const requestIdSchema = v.pipe(
  v.string(),
  v.regex(REQUEST_ID_PATTERN),
  v.transform((text) => text as RequestId),
);
export const modelIdSchema = v.pipe(
  v.string(),
  v.minLength(1),
  v.maxLength(200),
  v.transform((text) => text as ModelId),
);

export const layerRangeEntries = { layerStart: layer, layerEnd: layer };

/** One stage of a route: a peer and the layers `[layerStart, layerEnd)` it computes there. */
export const hopSchema = v.pipe(
  v.object({ peer: peerIdSchema, ...layerRangeEntries }),
  v.check((hop) => hop.layerStart < hop.layerEnd, 'a hop must hold at least one layer'),
);
export type Hop = v.InferOutput<typeof hopSchema>;

/** The ordered hops of a request. The first embeds, the last has the head; together they hold every layer once. */
export const routeSchema = v.object({
  requestId: requestIdSchema,
  epoch: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff)),
  model: modelIdSchema,
  hops: v.pipe(
    v.array(hopSchema),
    v.minLength(1),
    v.maxLength(MAX_ROUTE_HOPS),
    v.check(isContiguousFromZero, 'hops must cover the layers once each, in order, from layer 0'),
  ),
});
export type Route = v.InferOutput<typeof routeSchema>;

function isContiguousFromZero(hops: Hop[]): boolean {
  return hops.every((hop, index) => hop.layerStart === (index === 0 ? 0 : hops[index - 1]?.layerEnd));
}

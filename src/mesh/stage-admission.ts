import { SkeinError } from '../protocol/errors.ts';
import type { ModelId, PeerId } from '../protocol/ids.ts';
import { MAX_SEQUENCE_TOKENS } from '../protocol/limits.ts';
import type { OpenRequest } from '../protocol/stage.ts';
import { peerError } from './peer-errors.ts';

/** What a stage holds, and where. */
export interface StageIdentity {
  readonly self: PeerId;
  readonly model: ModelId;
  readonly layerStart: number;
  readonly layerEnd: number;
}

export type Admission =
  /** This stage is hop `hopIndex`. */
  | { readonly kind: 'admitted'; readonly hopIndex: number }
  /** From somebody with no part in it, or for another stage of this peer. Not answered: nobody fails another's request. */
  | { readonly kind: 'stranger' }
  /** From the right peer, but it cannot be served; the requester is told. */
  | { readonly kind: 'refused'; readonly error: SkeinError };

/** Who feeds a hop: the requester the first, the hop before it every other. */
export function upstreamOf({ requester, route }: OpenRequest, hopIndex: number): PeerId {
  return route.hops[hopIndex - 1]?.peer ?? requester;
}

/** Decides about an `open` frame by what it says and whom it came from. @param offers so many hops made theirs before this one. */
export function admit(request: OpenRequest, from: PeerId, stage: StageIdentity, offers: number): Admission {
  const { hops, model } = request.route;
  const hopIndex = hops.findIndex(
    (hop) =>
      hop.peer === stage.self &&
      hop.layerStart === stage.layerStart &&
      hop.layerEnd === stage.layerEnd &&
      model === stage.model,
  );
  if (hopIndex === -1) {
    const isMeant = hops.some((hop, index) => hop.peer === stage.self && upstreamOf(request, index) === from);
    return isMeant ? { kind: 'refused', error: movedError(stage) } : { kind: 'stranger' };
  }
  if (upstreamOf(request, hopIndex) !== from) return { kind: 'stranger' };
  if (offers !== hopIndex) {
    return {
      kind: 'refused',
      error: peerError('bad-frame', from, `passed on ${offers} offers to hop ${hopIndex}.`),
    };
  }
  if (request.promptTokens + request.maxTokens > MAX_SEQUENCE_TOKENS) {
    return refused(`${request.promptTokens} + ${request.maxTokens} tokens are over ${MAX_SEQUENCE_TOKENS}.`);
  }
  const sameLink = hops.filter((hop, index) => {
    return index > 0 && hop.peer === stage.self && upstreamOf(request, index) === from;
  });
  // Frames name peers, not hops: rows for two stages behind one link could not be told apart.
  if (sameLink.length > 1) return refused(`The route goes from ${from} to ${stage.self} twice.`);
  return { kind: 'admitted', hopIndex };
}

function refused(message: string): Admission {
  return { kind: 'refused', error: new SkeinError('bad-argument', `${message} The request is not opened.`) };
}

function movedError({ self, model, layerStart, layerEnd }: StageIdentity): SkeinError {
  return peerError(
    'peer-lost',
    self,
    `serves layers ${layerStart} to ${layerEnd} of ${model} and not what the route says. Ask for a new route.`,
  );
}

import { isConstraintError } from '../protocol/constraint.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { Route } from '../protocol/route.ts';
import { accusedBy, after, faultyPeers, namedHop, withAccuser } from './exclusions.ts';
import { isOver, lossSoFar } from './request-state.ts';
import type {
  Progress,
  RequestEffect,
  RequestEvent,
  RequestState,
  SampledToken,
  Step,
} from './request-state.ts';
import { afterToken, isAboutWrongValues, isFault, nextAttempt } from './retry.ts';

/** Losses of one answer that its result tells of; more than enough to see what went on. */
export const MAX_TOLD_REROUTES = 256;

type EventOf<Type extends RequestEvent['type']> = Extract<RequestEvent, { type: Type }>;
type Waiting = Extract<RequestState, { wait: unknown }>;
type Routed = Extract<RequestState, { route: unknown }>;

/**
 * The life of a request, as one pure function: what becomes of it by an event, and what is to be done about that. Whatever
 * comes late, twice or from a route that was given up changes nothing but the count of dropped tokens.
 */
export function transition(state: RequestState, event: RequestEvent): Step {
  if (isOver(state)) return event.type === 'token' ? dropped(state) : unchanged(state);
  switch (event.type) {
    case 'abort':
      return { state: { phase: 'aborted', progress: state.progress }, effects: [] };
    case 'time-up':
      return failed(state.progress, event.error);
    case 'stop-string':
      return state.phase === 'decoding' ? done(state.progress, 'stop', []) : unchanged(state);
    case 'token':
      return 'route' in state && isOfNow(state, event) ? takeToken(state, event) : dropped(state);
    case 'lost':
      return 'route' in state && isOfNow(state, event) ? loseRoute(state, event) : unchanged(state);
    case 'routed':
    case 'unrouted':
    case 'queued':
    case 'woke':
      return 'wait' in state && isOfNow(state, event) ? goOnWaiting(state, event) : unchanged(state);
  }
}

function goOnWaiting(state: Waiting, event: EventOf<'routed' | 'unrouted' | 'queued' | 'woke'>): Step {
  const { progress } = state;
  const { epoch, exclude } = progress.retry;
  if (event.type === 'woke') {
    if (state.wait !== 'delay') return unchanged(state);
    return { state: { ...state, wait: 'route' }, effects: [{ type: 'ask', epoch, exclude }] };
  }
  if (state.wait !== 'route') return unchanged(state);
  switch (event.type) {
    case 'queued':
      return { state, effects: [{ type: 'tell-queued', position: event.position }] };
    case 'unrouted':
      return tryAgain(state, event, null, []);
    case 'routed': {
      const { route, atMs } = event;
      const { keepsCache } = progress;
      return {
        state: { phase: 'prefilling', progress, route },
        effects: [
          { type: 'tell-route', route, reroute: lossSoFar(progress, atMs) },
          { type: 'start', route, keepsCache },
        ],
      };
    }
  }
}

function takeToken(state: Routed, { token, epoch, atMs }: EventOf<'token'>): Step {
  const { progress, route } = state;
  const { facts, log } = progress;
  const nextPosition = facts.promptTokens + log.length;
  if (token.position < nextPosition) return dropped(state);
  if (token.position > nextPosition) {
    const error = gapError(token, nextPosition, route);
    return loseRoute(state, { type: 'lost', epoch, error, accuser: null, atMs });
  }
  const isStopToken = facts.stopTokenIds.includes(token.tokenId);
  const ended = progress.losses.map(({ reroute, sinceMs }) => ({ ...reroute, pauseMs: atMs - sinceMs }));
  const next: Progress = {
    ...progress,
    log: log.with(token.tokenId),
    retry: afterToken(progress.retry),
    accusers: [],
    losses: [],
    reroutes: [...progress.reroutes, ...ended].slice(-MAX_TOLD_REROUTES),
  };
  const effects: RequestEffect[] = [
    ...(ended.length > 0 ? [{ type: 'tell-resumed' as const, reroutes: ended }] : []),
    { type: 'take', token, isStopToken, atMs },
  ];
  if (isStopToken) return done(next, 'stop', effects);
  if (next.log.length >= facts.maxTokens) return done(next, 'length', effects);
  return { state: { phase: 'decoding', progress: next, route }, effects };
}

/** The route failed: the next one does without whoever is at fault. */
function loseRoute(state: Routed, event: EventOf<'lost'>): Step {
  const { progress, route, phase } = state;
  const { accuser, atMs } = event;
  if (isRefusedConstraint(progress, event, route)) return failed(progress, event.error, [{ type: 'leave' }]);
  const refuser = refuserOf(event, route);
  const isRefused = refuser !== null;
  const error = isRefused && !progress.wasRefused ? refusedBy(refuser, event.error) : event.error;
  const peers = isFault(error) ? faultyPeers(error, accuser, route, progress.accusers) : [];
  const peer = peers[0] ?? namedHop(error, route);
  const reroute = { epoch: route.epoch, peer, code: error.code, phase };
  const lost: Progress = {
    ...progress,
    wasRefused: progress.wasRefused || isRefused,
    keepsCache: progress.keepsCache && !isAboutWrongValues(error),
    exclusions: accusedBy(progress.exclusions, accuser, error.code, peers),
    accusers: withAccuser(progress.accusers, accuser),
    losses: [...progress.losses, { reroute, sinceMs: atMs }],
  };
  const suspicions = peers.map((peer): RequestEffect => {
    return { type: 'suspect', peer, error: namingOther(error, peer, accuser) };
  });
  const effects: RequestEffect[] = [{ type: 'leave' }, ...suspicions];
  const avoided = [...peers, ...fullAgain(progress, error, peer)];
  return tryAgain({ ...state, progress: lost }, { error, atMs }, route, avoided, effects);
}

/** A hop that has no room twice in a row may never have any: others are tried, as long as there are others. */
function fullAgain({ losses }: Progress, { code }: SkeinError, peer: PeerId | null): PeerId[] {
  if (code !== 'busy' || peer === null) return [];
  return losses.some(({ reroute }) => reroute.code === 'busy' && reroute.peer === peer) ? [peer] : [];
}

/** Where it may as well have been another hop, one that was named too or whose word it is: who hears of both believes less. */
function namingOther(error: SkeinError, peer: PeerId, accuser: PeerId | null): SkeinError {
  const { peer: named, otherPeer } = error.data;
  const other = [named, otherPeer, accuser].find((hop) => typeof hop === 'string' && hop !== peer);
  if (typeof other !== 'string') return error;
  return new SkeinError(error.code, error.message, {
    data: { ...error.data, peer, otherPeer: other },
    cause: error,
  });
}

/** The hop that says that the request itself is at fault, so that no route could help. What is found here names no hop. */
function refuserOf({ error, accuser }: EventOf<'lost'>, route: Route): PeerId | null {
  return isFault(error) || error.code === 'busy' ? null : (accuser ?? namedHop(error, route));
}

/** The caller's own question, and the one hop that reads it says why: another would say the same, and nobody is at fault. */
function isRefusedConstraint(
  { facts }: Progress,
  { error, accuser }: EventOf<'lost'>,
  route: Route,
): boolean {
  return facts.isConstrained === true && isConstraintError(error) && accuser === route.hops.at(-1)?.peer;
}

/** One hop alone does not end a request: another route is asked, and believed. */
function refusedBy(peer: PeerId, error: SkeinError): SkeinError {
  const message = `Peer ${peer} refused the request: ${error.message}`;
  return new SkeinError('internal', message, { data: { peer }, cause: error });
}

/** After a failure, of a route or of the wish for one. @param route null where there was none. */
function tryAgain(
  state: Waiting | Routed,
  { error, atMs }: { readonly error: SkeinError; readonly atMs: number },
  route: Route | null,
  avoided: readonly PeerId[],
  before: readonly RequestEffect[] = [],
): Step {
  const { progress } = state;
  const attempt = nextAttempt(progress.retry, error, route);
  if (attempt === null) return failed(progress, error, before);
  const { retry, exclusions } = after(attempt.state, avoided, progress.exclusions);
  const next: Progress = { ...progress, retry, exclusions };
  const { epoch, exclude } = retry;
  const { delayMs } = attempt;
  const effects: RequestEffect[] = [
    ...before,
    { type: 'tell-waiting', epoch, error, delayMs, reroute: lossSoFar(next, atMs) },
    delayMs === 0 ? { type: 'ask', epoch, exclude } : { type: 'pause', epoch, delayMs },
  ];
  const phase = state.phase === 'open' ? 'open' : 'rerouting';
  return { state: { phase, progress: next, wait: delayMs === 0 ? 'route' : 'delay' }, effects };
}

function isOfNow({ progress }: RequestState, { epoch }: { readonly epoch: number }): boolean {
  return epoch === progress.retry.epoch;
}

function unchanged(state: RequestState): Step {
  return { state, effects: [] };
}

function dropped(state: RequestState): Step {
  const { progress } = state;
  return {
    state: { ...state, progress: { ...progress, droppedTokens: progress.droppedTokens + 1 } },
    effects: [],
  };
}

function done(progress: Progress, finishReason: 'stop' | 'length', effects: readonly RequestEffect[]): Step {
  return { state: { phase: 'done', progress, finishReason }, effects };
}

function failed(progress: Progress, error: SkeinError, effects: readonly RequestEffect[] = []): Step {
  return { state: { phase: 'failed', progress, error }, effects };
}

/** Frames of one sender come in order, so a gap is that of the last hop. */
function gapError({ position }: SampledToken, expected: number, { hops }: Route): SkeinError {
  const peer = hops.at(-1)?.peer;
  return new SkeinError(
    'bad-frame',
    `The token at position ${position} came where ${expected} was next. Ask for a new route.`,
    { data: { position, expected, ...(peer !== undefined && { peer }) } },
  );
}

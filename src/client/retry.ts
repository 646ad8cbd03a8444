import type { SkeinError } from '../protocol/errors.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { Route } from '../protocol/route.ts';

/** What the next route is asked for. */
export interface RetryState {
  /** Counts routes: frames of an earlier one are dropped. */
  readonly epoch: number;
  /** Peers that failed this request. */
  readonly exclude: readonly PeerId[];
  /** Failures since the last token. */
  readonly failures: number;
  /** Attempts since the last token that found layers without a tab. */
  readonly waits: number;
  /** Those of whom the next routes do without one at a time, in this order: there was none without all of them. */
  readonly oneByOne: readonly PeerId[];
}

export const FIRST_ATTEMPT: RetryState = { epoch: 0, exclude: [], failures: 0, waits: 0, oneByOne: [] };

/** The route works: what went wrong before it counts no more. */
export function afterToken(state: RetryState): RetryState {
  return { ...state, failures: 0, waits: 0, oneByOne: [] };
}

/** Failures in a row, without a single token between them, after which a request is given up. */
const MAX_FAILURES = 8;
/** As many where a loss or a full mesh is behind them, which pass: a mesh in turmoil has a minute to calm down. */
const MAX_PASSING_FAILURES = 16;
/** Each route has its epoch, which is 16 bits in a frame. */
const MAX_EPOCH = 0xffff;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5_000;
/**
 * A mesh that lost a tab re-forms in seconds where weights are at hand, and in minutes where they are not; a server that
 * restarts is back in seconds. They are asked often, so that an answer goes on as soon as it can, for about three minutes.
 */
const MAX_WAITS = 180;
const MAX_WAIT_DELAY_MS = 1_000;
/** The longest that a server may have us wait before asking again. */
const MAX_HINTED_DELAY_MS = 60_000;
/** Excluded peers are remembered up to the number a route request may name. */
export const MAX_EXCLUDED = 64;

const WRONG_VALUES: readonly ErrorCode[] = ['bad-frame', 'internal'];
/** Faults of one route; another may do. */
const FAULTS: readonly ErrorCode[] = [
  'peer-lost',
  'timeout',
  'device-lost',
  'out-of-memory',
  ...WRONG_VALUES,
];

/** Failures that say that something computed or sent may be wrong, and not only missing. */
export function isAboutWrongValues({ code }: SkeinError): boolean {
  return WRONG_VALUES.includes(code);
}

/** Whether another route may do after this failure of one. */
export function isFault({ code }: SkeinError): boolean {
  return FAULTS.includes(code);
}

/**
 * What to do after a failure.
 * @param route the route that failed, or null when there was none.
 * @returns null when trying again cannot help.
 */
export function nextAttempt(
  state: RetryState,
  error: SkeinError,
  route: Route | null,
): { state: RetryState; delayMs: number } | null {
  const epoch = state.epoch + 1;
  if (epoch > MAX_EPOCH) return null;
  if (error.code === 'no-route') return mayReform(state, error) ? waitForLayers(state) : null;
  if (error.code === 'server-lost' && route === null) return waitForServer(state);
  const failures = state.failures + 1;
  if (failures > (isAboutWrongValues(error) ? MAX_FAILURES : MAX_PASSING_FAILURES)) return null;
  // A server that says nothing in time has much to do: half an answer is not thrown away for that.
  if (error.code === 'busy' || (error.code === 'timeout' && route === null)) {
    const delayMs = Math.max(delayOf(failures, MAX_DELAY_MS), hintedDelayMs(error));
    return { state: { ...state, epoch, failures }, delayMs };
  }
  if (route === null || !isFault(error)) return null;
  const exclude = [...new Set([...state.exclude, ...culprits(error, route)])].slice(-MAX_EXCLUDED);
  // Whoever is at fault is not asked again, so the first time nothing is worth waiting for.
  const delayMs = failures === 1 ? 0 : delayOf(failures - 1, MAX_DELAY_MS);
  return { state: { ...state, epoch, exclude, failures }, delayMs };
}

/**
 * Whether layers without a tab will soon have one: tabs load them, or this request lost them and others are found. With
 * neither, nobody is there, and waiting is the user's choice.
 */
function mayReform(state: RetryState, error: SkeinError): boolean {
  return error.data['loading'] === true || state.failures > 0 || state.waits > 0;
}

/**
 * Of two that accuse each other one is honest, and may be the only one with its layers: those excluded together are excluded one at a
 * time, and at last nobody is, since there may be nobody else.
 */
function waitForLayers(state: RetryState): { state: RetryState; delayMs: number } | null {
  const waits = state.waits + 1;
  if (waits > MAX_WAITS) return null;
  const together = state.exclude.length > 1 ? state.exclude : [];
  const [next, ...oneByOne] = state.oneByOne.length > 0 ? state.oneByOne : together;
  const exclude = next === undefined ? [] : [next];
  const delayMs = delayOf(waits, MAX_WAIT_DELAY_MS);
  return { state: { ...state, epoch: state.epoch + 1, exclude, waits, oneByOne }, delayMs };
}

/** It is connected to anew. */
function waitForServer(state: RetryState): { state: RetryState; delayMs: number } | null {
  const waits = state.waits + 1;
  if (waits > MAX_WAITS) return null;
  return {
    state: { ...state, epoch: state.epoch + 1, waits },
    delayMs: delayOf(waits, MAX_WAIT_DELAY_MS),
  };
}

/** Twice as long every time. */
function delayOf(count: number, mostMs: number): number {
  return Math.min(FIRST_DELAY_MS * 2 ** (count - 1), mostMs);
}

/** What the server asks for. */
function hintedDelayMs(error: SkeinError): number {
  const seconds = error.data['retryAfterSeconds'];
  return typeof seconds === 'number' && seconds > 0 ? Math.min(seconds * 1000, MAX_HINTED_DELAY_MS) : 0;
}

/**
 * The peers an error names, where they are hops of the route: nobody can make us exclude a bystander. Silence names nobody,
 * and the same route would be silent again: then it is every hop.
 */
export function culprits(error: SkeinError, route: Route): PeerId[] {
  const hops = route.hops.map(({ peer }) => peer);
  const { peer: named, otherPeer } = error.data;
  const isUnnamedSilence = error.code === 'timeout' && named === undefined;
  return isUnnamedSilence ? hops : hops.filter((peer) => peer === named || peer === otherPeer);
}

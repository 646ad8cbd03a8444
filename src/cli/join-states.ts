import type { AssignedSlice, ContributorState, PauseReason } from '../contributor/contributor-state.ts';
import type { ConnectionState } from '../mesh/mesh-connection.ts';
import type { ErrorShape } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';

/** A contributor's state without what changes all the time. */
export interface StateSummary {
  readonly phase: ContributorState['phase'];
  readonly slice?: AssignedSlice;
  readonly error?: ErrorShape;
  readonly reason?: PauseReason;
  /** Answers that are being finished. */
  readonly activeSequences?: number;
}

export function summarizeState(state: ContributorState): StateSummary {
  const { phase } = state;
  switch (phase) {
    case 'loading':
    case 'serving':
      return { phase, slice: state.slice };
    case 'rebuilding':
      return { phase, slice: state.slice, error: state.error.toShape() };
    case 'stopping':
      return { phase, activeSequences: state.activeSequences };
    case 'paused':
      return { phase, reason: state.reason };
    case 'failed':
      return { phase, error: state.error.toShape() };
    default:
      return { phase };
  }
}

/** News about the connection to the server. */
export type ConnectionSummary =
  | { readonly phase: 'reconnecting' | 'offline'; readonly error: ErrorShape }
  /** The server is back, and this is who it was before. */
  | { readonly phase: 'resumed'; readonly peer: PeerId };

/** @param wasAway whether the server was away just before. @returns null where there is no news. */
export function summarizeConnection(
  state: ConnectionState<{ readonly self: PeerId }>,
  wasAway: boolean,
): ConnectionSummary | null {
  switch (state.phase) {
    case 'reconnecting':
    case 'offline':
      return { phase: state.phase, error: state.error.toShape() };
    case 'online':
      return wasAway ? { phase: 'resumed', peer: state.session.self } : null;
    case 'connecting':
      return null;
  }
}

/** As `summarizeConnection`, in a line for people. */
export function describeConnection(state: ConnectionState<unknown>, wasAway: boolean): string | null {
  switch (state.phase) {
    case 'reconnecting':
      return `${state.error.message} Answers under way go on. ${againWords(state.retryInMs)}`;
    case 'offline':
      return `${state.error.message} ${againWords(state.retryInMs)}`;
    case 'online':
      return wasAway ? 'The server is back.' : null;
    case 'connecting':
      return null;
  }
}

function againWords(retryInMs: number): string {
  return `Trying again in ${(retryInMs / 1000).toFixed(1)} s.`;
}

/** A contributor's state in a line for people. */
export function describeState(state: ContributorState): string {
  switch (state.phase) {
    case 'idle':
      return 'Stopped.';
    case 'measuring':
      return 'Measuring the GPU …';
    case 'waiting':
      return state.waitingFor === 'server'
        ? 'Waiting for the server …'
        : `Lending ${state.capability.adapter}. Waiting for work …`;
    case 'loading':
      return `Loading ${sliceWords(state.slice)} …`;
    case 'serving':
      return `Serving ${sliceWords(state.slice)}. Press Ctrl-C to stop.`;
    case 'rebuilding':
      return `${state.error.message} Loading ${sliceWords(state.slice)} again …`;
    case 'paused':
      return state.reason === 'battery-low'
        ? 'The battery is low. Lending again when it charges …'
        : 'Asleep …';
    case 'stopping':
      return `Finishing ${answersWords(state.activeSequences)}. Press Ctrl-C again to end at once.`;
    case 'failed':
      return 'Stopped by an error.';
  }
}

/** @param count 0 where it is not known yet whether there are any. */
function answersWords(count: number): string {
  if (count === 0) return 'what is under way';
  return count === 1 ? 'the last answer under way' : `${count} answers under way`;
}

function sliceWords({ model, layerStart, layerEnd, layerCount }: AssignedSlice): string {
  return `layers ${layerStart} to ${layerEnd - 1} of the ${layerCount} of ${model}`;
}

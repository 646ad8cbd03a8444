import type { AssignedSlice, ContributorState } from '../contributor/contributor-state.ts';
import type { ErrorShape } from '../protocol/errors.ts';

/** A contributor's state without what changes all the time. */
export interface StateSummary {
  readonly phase: ContributorState['phase'];
  readonly slice?: AssignedSlice;
  readonly error?: ErrorShape;
}

export function summarizeState(state: ContributorState): StateSummary {
  const { phase } = state;
  switch (phase) {
    case 'loading':
    case 'serving':
      return { phase, slice: state.slice };
    case 'failed':
      return { phase, error: state.error.toShape() };
    default:
      return { phase };
  }
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
    case 'stopping':
      return 'Finishing the answers under way. Press Ctrl-C again to end at once.';
    case 'failed':
      return 'Stopped by an error.';
  }
}

function sliceWords({ model, layerStart, layerEnd, layerCount }: AssignedSlice): string {
  return `layers ${layerStart} to ${layerEnd - 1} of the ${layerCount} of ${model}`;
}

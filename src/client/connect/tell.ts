import type { ConnectionState } from '../../mesh/mesh-connection.ts';
import type { LiveSession } from '../../mesh/open-session.ts';
import type { AnswerEvent } from '../api/answer-events.ts';
import { offeredModels } from '../api/mesh-models.ts';
import type { AnswerProgress, MeshProgress, ProgressListener } from './progress.ts';

export function connectionProgress(state: ConnectionState<LiveSession>): MeshProgress {
  switch (state.phase) {
    case 'connecting':
      return { type: 'connecting' };
    case 'online':
      return { type: 'connected', models: offeredModels(state.session).map(({ id }) => id) };
    case 'reconnecting':
    case 'offline':
      return { type: state.phase, error: state.error, retryInMs: state.retryInMs };
  }
}

/** @param id of the answer's objects. */
export function answerProgress(
  id: string,
  { choice, progress }: Extract<AnswerEvent, { type: 'progress' }>,
): AnswerProgress {
  const answer = { id, choice };
  switch (progress.type) {
    case 'queued':
      return { ...answer, type: 'queued', position: progress.position };
    case 'route': {
      const { route, reroute: lost } = progress;
      if (lost === null) return { ...answer, type: 'route', hops: route.hops };
      return { ...answer, type: 'rerouted', hops: route.hops, lost };
    }
    case 'waiting': {
      const { error, delayMs, reroute: lost } = progress;
      return { ...answer, type: 'waiting', error, delayMs, lost };
    }
    case 'resumed':
      return { ...answer, type: 'resumed', lost: progress.reroutes };
  }
}

/** Tells a caller. What a caller's function throws must not end what goes on here. */
export function tellCaller<Told>(listener: ProgressListener<Told>, progress: Told): void {
  try {
    listener(progress);
  } catch (thrown) {
    queueMicrotask(() => {
      throw thrown;
    });
  }
}

import type { ApiModels } from '../client/api/api-models.ts';
import { meshModels } from '../client/api/mesh-models.ts';
import { MeshConnection } from '../mesh/mesh-connection.ts';
import { openNodeSession } from '../mesh/node-session.ts';
import type { LiveSession, SessionParts } from '../mesh/open-session.ts';
import { pause } from '../mesh/pause.ts';
import { untilAborted } from '../model/abort.ts';
import { SkeinError } from '../protocol/errors.ts';

/** This process as a requester on a mesh. */
export interface MeshClient {
  readonly connection: MeshConnection<LiveSession>;
  readonly models: ApiModels;
  /** The session of the moment. */
  readonly current: () => LiveSession;
  dispose(): void;
}

/**
 * Goes to a server and stays with it: a connection that breaks later is made again.
 * @param parts with which the server is reached.
 * @throws SkeinError `server-lost`, `timeout`, … when the first attempt fails, or `aborted`.
 */
export async function openMeshClient(
  serverUrl: string,
  signal: AbortSignal,
  parts: SessionParts = {},
): Promise<MeshClient> {
  const connection = new MeshConnection<LiveSession>({
    open: (stop) => openNodeSession(serverUrl, stop, parts),
    pause,
    random: Math.random,
  });
  try {
    await untilAborted(firstSession(connection), signal);
  } catch (thrown) {
    connection.dispose();
    throw unreachable(serverUrl, SkeinError.from(thrown));
  }
  const current = () => {
    const { latestSession } = connection;
    if (latestSession === null) throw new SkeinError('server-lost', 'There was no session yet.');
    return latestSession;
  };
  return {
    connection,
    models: meshModels({ current, serverUrl }),
    current,
    dispose: () => connection.dispose(),
  };
}

function firstSession(connection: MeshConnection<LiveSession>): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.subscribe((state) => {
      if (state.phase === 'online') resolve();
      if (state.phase === 'offline') reject(state.error);
    });
  });
}

function unreachable(serverUrl: string, error: SkeinError): SkeinError {
  if (error.code === 'aborted') return error;
  const words = `No mesh at ${serverUrl}: ${error.message} Start one with: skein serve`;
  return new SkeinError(error.code, words, { data: error.data, cause: error });
}

import { Listeners } from '../../mesh/listeners.ts';
import { MeshConnection } from '../../mesh/mesh-connection.ts';
import type { LiveSession } from '../../mesh/open-session.ts';
import { pause } from '../../mesh/pause.ts';
import { parseServerUrl } from '../../mesh/server-url.ts';
import { HttpSource } from '../../model/http-source.ts';
import { SkeinError } from '../../protocol/errors.ts';
import { Tokenizer } from '../../tokenizer/tokenizer.ts';
import { meshModels } from '../api/mesh-models.ts';
import { modelList } from '../api/model-list.ts';
import { Answers } from './answers.ts';
import { chatCompletions, textCompletions } from './completions.ts';
import type { Progress, ProgressListener } from './progress.ts';
import { connectionProgress, tellCaller } from './tell.ts';
import type { ConnectOptions, Skein } from './types.ts';
import { Work } from './work.ts';

/** @throws SkeinError `server-lost`, `timeout`. */
export type OpenSession = (serverUrl: string, signal: AbortSignal) => Promise<LiveSession>;

/** The `connect` of a place. @param openSession over the sockets and the WebRTC it has. */
export async function connectWith(
  openSession: OpenSession,
  serverUrl: string,
  { signal, onProgress }: ConnectOptions = {},
): Promise<Skein> {
  const url = parseServerUrl(serverUrl);
  const listeners = new Listeners<[progress: Progress]>();
  const tell = (progress: Progress) => listeners.tell(progress);
  const listen = (listener: ProgressListener) => listeners.add((progress) => tellCaller(listener, progress));
  if (onProgress) listen(onProgress);

  const connection = await keepConnected((ending) => openSession(url, ending), tell, signal);
  const models = meshModels({
    current: () => latestOf(connection),
    serverUrl: url,
    loadTokenizer: async (folder) => {
      tell({ type: 'loading-tokenizer', url: folder });
      return Tokenizer.load(new HttpSource(folder));
    },
  });
  const work = new Work();
  const answers = new Answers({ models, work, onProgress: tell });
  return {
    chat: { completions: chatCompletions(answers) },
    completions: textCompletions(answers),
    models: { list: () => Promise.resolve().then(() => modelList(models.list())) },
    on: (_type, listener) => listen(listener),
    close: async () => {
      await work.close();
      connection.dispose();
      listeners.clear();
    },
  };
}

/** @returns a connection that was made: the first attempt that fails is the caller's to try again. */
async function keepConnected(
  open: (signal: AbortSignal) => Promise<LiveSession>,
  tell: (progress: Progress) => void,
  signal: AbortSignal | undefined,
): Promise<MeshConnection<LiveSession>> {
  if (signal?.aborted === true) throw abortedError(signal);
  const connection = new MeshConnection<LiveSession>({ open, pause, random: Math.random });
  tell(connectionProgress(connection.state));
  let stopWaiting: () => void = () => undefined;
  const first = new Promise<void>((resolve, reject) => {
    const abort = () => reject(abortedError(signal));
    signal?.addEventListener('abort', abort);
    const stop = connection.subscribe((state) => {
      if (state.phase === 'online') resolve();
      if (state.phase === 'offline') reject(state.error);
    });
    stopWaiting = () => {
      signal?.removeEventListener('abort', abort);
      stop();
    };
  });
  // Whoever comes to the mesh or leaves it changes a state that stays the same.
  let told: string = connection.state.phase;
  connection.subscribe((state) => {
    if (state.phase === 'online' && told === 'online') return;
    told = state.phase;
    tell(connectionProgress(state));
  });
  try {
    await first;
    return connection;
  } catch (thrown) {
    connection.dispose();
    throw thrown;
  } finally {
    stopWaiting();
  }
}

function latestOf({ latestSession }: MeshConnection<LiveSession>): LiveSession {
  if (latestSession) return latestSession;
  throw new SkeinError('server-lost', 'There was no session with the server yet.');
}

function abortedError(signal: AbortSignal | undefined): SkeinError {
  return new SkeinError('aborted', 'Connecting was stopped.', { cause: signal?.reason });
}

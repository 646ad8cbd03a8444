import { homedir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { Contributor } from '../contributor/contributor.ts';
import type { ContributorState } from '../contributor/contributor-state.ts';
import { MeshConnection, sessionOf } from '../mesh/mesh-connection.ts';
import type { ConnectionState } from '../mesh/mesh-connection.ts';
import type { LiveSession } from '../mesh/open-session.ts';
import { pause } from '../mesh/pause.ts';
import { WorkerEngineHost } from '../contributor/worker-engine-host.ts';
import { createNodeGpu } from '../engine/node-gpu.ts';
import { WeightCache } from '../model/weight-cache.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import { numberBetween, wholeNumber } from './arguments.ts';
import { folderByteStore } from './folder-byte-store.ts';
import { describeConnection, describeState, summarizeConnection, summarizeState } from './join-states.ts';
import { LocalEnginePort } from './local-engine-port.ts';
import { openNodeSession } from '../mesh/node-session.ts';
import { parseServerUrl } from '../mesh/server-url.ts';
import { ProgressLine } from './progress-line.ts';
import { fileTuningStore, tuningFilePath } from './tuning-file.ts';

const MIB = 1024 ** 2;
const DEFAULT_MEMORY_MIB = 4096;
const MAX_MEMORY_MIB = 1024 ** 2;
/** What was said last is on its way to other peers; the process ends no later than this. */
const FAREWELL_MS = 200;

interface JoinOptions {
  readonly memoryMib: number;
  readonly memoryShare?: number;
  readonly adapter?: string;
  readonly weightCache: boolean;
  readonly json: boolean;
}

export function joinCommand(): Command {
  return new Command('join')
    .description("Lend this machine's GPU to a mesh.")
    .argument('<url>', 'address of the server, such as http://localhost:3000', parseUrlArgument)
    .option(
      '--memory-mib <n>',
      'weights and cache take at most this',
      wholeNumber(16, MAX_MEMORY_MIB),
      DEFAULT_MEMORY_MIB,
    )
    .option(
      '--memory-share <percent>',
      "and at most this share of the machine's memory, which many GPUs use",
      numberBetween(1, 100),
    )
    .option('--adapter <name>', "part of the GPU's name, where there are several")
    .option('--no-weight-cache', 'keep no weights on disk for the next time')
    .option('--json', 'print one JSON object for every change', false)
    .addHelpText(
      'after',
      `
Ctrl-C takes no new work and ends when the answers under way are finished; a second one ends at once.

Examples:
  $ skein join http://localhost:3000
  $ skein join https://mesh.example --memory-mib 16384
  $ skein join localhost:3000 --memory-share 25 --json`,
    )
    .action(runJoin);
}

async function runJoin(serverUrl: string, options: JoinOptions): Promise<void> {
  const gpu = await createNodeGpu(options.adapter);
  const weights = options.weightCache ? new WeightCache(folderByteStore(weightsFolder())) : null;
  let port: LocalEnginePort | null = null;
  const contributor = new Contributor({
    createHost: () => {
      port = new LocalEnginePort(gpu, { tunings: fileTuningStore(), weights });
      return new WorkerEngineHost(serverUrl, port);
    },
  });
  const voice = options.json ? jsonVoice() : plainVoice();
  const connection = new MeshConnection<LiveSession>({
    open: (signal) =>
      openNodeSession(serverUrl, signal, { onMisbehaved: (error) => voice.misbehaved(error) }),
    pause,
    random: Math.random,
  });
  connection.subscribe((state) => {
    contributor.setSession(sessionOf(state));
    voice.connection(state);
  });
  contributor.subscribe((state) => voice.contributor(state, sessionOf(connection.state)?.self ?? null));

  const over = new Promise<ContributorState>((resolve) => {
    contributor.subscribe((state) => {
      if (state.phase === 'idle' || state.phase === 'failed') resolve(state);
    });
  });
  const stop = () => contributor.stop();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  contributor.start({ memoryLimitBytes: memoryLimitBytes(options) });
  const last = await over;
  // Cast: TypeScript does not see that `createHost` was called.
  await (port as LocalEnginePort | null)?.terminated;
  await sleep(FAREWELL_MS);
  connection.dispose();
  if (last.phase === 'failed') console.error(`skein: ${last.error.message}`);
  // WebRTC and Dawn keep threads of their own.
  process.exit(last.phase === 'failed' ? 1 : 0);
}

function memoryLimitBytes({ memoryMib, memoryShare = 100 }: JoinOptions): number {
  return Math.floor(Math.min(memoryMib * MIB, (totalmem() * memoryShare) / 100));
}

/** Beside the other caches of the user. */
function weightsFolder(): string {
  const { platform, env } = process;
  return join(dirname(tuningFilePath({ platform, env, home: homedir() })), 'weights');
}

function parseUrlArgument(text: string): string {
  try {
    return parseServerUrl(text);
  } catch (thrown) {
    throw new InvalidArgumentError(SkeinError.from(thrown).message);
  }
}

/** Says what happens. */
interface Voice {
  connection(state: ConnectionState<LiveSession>): void;
  contributor(state: ContributorState, self: PeerId | null): void;
  /** A peer was cut off for what it sent. */
  misbehaved(error: SkeinError): void;
}

function plainVoice(): Voice {
  const progress = new ProgressLine(process.stderr);
  let lastLine = '';
  const say = (line: string) => {
    if (line === lastLine) return;
    lastLine = line;
    progress.clear();
    console.log(line);
  };
  let isAway = false;
  return {
    connection: (state) => {
      const line = describeConnection(state, isAway);
      isAway = state.phase === 'reconnecting';
      if (line !== null) say(line);
    },
    contributor: (state) => {
      say(describeState(state));
      if ('totalBytes' in state && state.totalBytes > 0) {
        progress.show('Loading', state.loadedBytes, state.totalBytes);
      }
    },
    misbehaved: ({ message }) => say(message),
  };
}

/** A line when the phase or the slice changes; `atMs` is milliseconds since 1970. */
function jsonVoice(): Voice {
  let lastKey = '';
  const say = (event: object) => {
    const key = JSON.stringify(event);
    if (key === lastKey) return;
    lastKey = key;
    console.log(JSON.stringify({ atMs: Date.now(), ...event }));
  };
  let isAway = false;
  return {
    connection: (state) => {
      const summary = summarizeConnection(state, isAway);
      isAway = state.phase === 'reconnecting';
      if (summary !== null) say(summary);
    },
    contributor: (state, self) => say({ ...summarizeState(state), peer: self }),
    misbehaved: ({ code, message }) => say({ cutOff: { code, message } }),
  };
}

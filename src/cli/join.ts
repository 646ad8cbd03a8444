import { homedir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { Contributor } from '../contributor/contributor.ts';
import type { ContributorState } from '../contributor/contributor-state.ts';
import { MeshConnection, sessionOf } from '../mesh/mesh-connection.ts';
import type { LiveSession } from '../mesh/open-session.ts';
import { pause } from '../mesh/pause.ts';
import { WorkerEngineHost } from '../contributor/worker-engine-host.ts';
import { createNodeGpu } from '../engine/node-gpu.ts';
import { WeightCache } from '../model/weight-cache.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { ModelId } from '../protocol/ids.ts';
import { numberBetween, wholeNumber } from './arguments.ts';
import { countingByteStore } from './counting-byte-store.ts';
import { fingerprintOption, trustFingerprint } from './certificate-trust.ts';
import { folderByteStore } from './folder-byte-store.ts';
import { jsonVoice, plainVoice } from './join-voices.ts';
import { parseLayers } from './layer-option.ts';
import type { LayerRange } from './layer-option.ts';
import { LocalEnginePort } from './local-engine-port.ts';
import { serverArgument } from './server-argument.ts';
import { openNodeSession } from '../mesh/node-session.ts';
import { fileTuningStore, tuningFilePath } from './tuning-file.ts';

const MIB = 1024 ** 2;
const DEFAULT_MEMORY_MIB = 4096;
const MAX_MEMORY_MIB = 1024 ** 2;
/** What was said last is on its way to other peers; the process ends no later than this. */
const FAREWELL_MS = 200;

interface JoinOptions {
  readonly layers?: LayerRange;
  readonly model?: ModelId;
  readonly memoryMib: number;
  readonly memoryShare?: number;
  readonly adapter?: string;
  readonly fingerprint?: string;
  readonly weightCache: boolean;
  readonly json: boolean;
}

export function joinCommand(): Command {
  return new Command('join')
    .description("Lend this machine's GPU to a mesh.")
    .addArgument(serverArgument())
    .option(
      '--layers <a:b>',
      'hold only the layers from a up to b, without b; by default what helps most',
      parseLayers,
    )
    .option('--model <id>', 'of this model; with --layers (default: the first that the server offers)')
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
    .addOption(fingerprintOption())
    .option('--no-weight-cache', 'keep no weights on disk for the next time')
    .option('--json', 'print one JSON object for every change', false)
    .addHelpText(
      'after',
      `
Ctrl-C takes no new work, says how many answers are under way, and ends when they are finished; a second one ends at
once. A server that the network takes away is waited for: answers under way go on meanwhile.
With --layers the server gives this machine those layers or says why it cannot; the others are placed around it.

Examples:
  $ skein join http://localhost:3000
  $ skein join https://mesh.example --memory-mib 16384
  $ skein join https://192.168.1.5:3000 --fingerprint 4F:0C:...  a server with a certificate of its own
  $ skein join localhost:3000 --layers 0:14               only the first 14 layers, and the embedding
  $ skein join localhost:3000 --layers 14:28 --model Qwen3-0.6B
  $ skein join localhost:3000 --memory-share 25 --json`,
    )
    .action(runJoin);
}

async function runJoin(serverUrl: string, options: JoinOptions): Promise<void> {
  const { layers, model } = options;
  if (model !== undefined && layers === undefined) {
    throw new SkeinError('bad-argument', '--model says of which model the layers are: give --layers too.');
  }
  const trusted = await trustFingerprint(serverUrl, options.fingerprint);
  const gpu = await createNodeGpu(options.adapter);
  const disk = countingByteStore(folderByteStore(weightsFolder()));
  const weights = options.weightCache ? new WeightCache(disk) : null;
  let port: LocalEnginePort | null = null;
  const contributor = new Contributor({
    createHost: () => {
      port = new LocalEnginePort(gpu, { tunings: fileTuningStore(), weights });
      return new WorkerEngineHost(serverUrl, port);
    },
  });
  const origin = new URL(serverUrl).host;
  const voice = options.json ? jsonVoice() : plainVoice(origin, disk);
  const connection = new MeshConnection<LiveSession>({
    open: (signal) =>
      openNodeSession(serverUrl, signal, {
        ...trusted,
        onMisbehaved: (error) => voice.misbehaved(error),
      }),
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
  const wish = layers && { ...layers, ...(model !== undefined && { model }) };
  contributor.start({ memoryLimitBytes: memoryLimitBytes(options), ...(wish && { layers: wish }) });
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

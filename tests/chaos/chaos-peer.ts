/**
 * A process that lends this machine's GPU as `skein join` does, and that can be harmed from outside: its
 * device taken away, its messages spoiled on their way out. Frozen, slowed down and killed it is by signals.
 * `node src/cli/bootstrap.mjs chaos-peer <url>`, with an IPC channel to the harness.
 */
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { folderByteStore } from '../../src/cli/folder-byte-store.ts';
import { summarizeState } from '../../src/cli/join-states.ts';
import { LocalEnginePort } from '../../src/cli/local-engine-port.ts';
import { openNodeSession } from '../../src/mesh/node-session.ts';
import { fileTuningStore, tuningFilePath } from '../../src/cli/tuning-file.ts';
import { Contributor } from '../../src/contributor/contributor.ts';
import type { ContributorState } from '../../src/contributor/contributor-state.ts';
import { MeshConnection, sessionOf } from '../../src/mesh/mesh-connection.ts';
import type { LiveSession } from '../../src/mesh/open-session.ts';
import { pause } from '../../src/mesh/pause.ts';
import { WorkerEngineHost } from '../../src/contributor/worker-engine-host.ts';
import type { EngineHost } from '../../src/contributor/engine-host.ts';
import { createNodeGpu } from '../../src/engine/node-gpu.ts';
import type { Connect } from '../../src/mesh/peer-connection.ts';
import { WeightCache } from '../../src/model/weight-cache.ts';
import { Random } from '../sim/random.ts';
import { fragileGpu } from './fragile-gpu.ts';
import type { PeerCommand, PeerEvent } from './peer-messages.ts';
import { tellRows } from './tell-rows.ts';
import { unreliableConnect } from './unreliable-pipe.ts';
import type { WireTrouble } from './unreliable-pipe.ts';

/** What lavapipe does on a quiet core. */
const RATES = { matvecBytesPerSecond: 2e9, matmulFlopsPerSecond: 5e9 } as const;
const MEMORY_BYTES = 512 * 1024 ** 2;
/** What was said last is on its way to other peers; the process ends no later than this. */
const FAREWELL_MS = 200;

const [serverUrl = ''] = process.argv.slice(2);

const gpu = fragileGpu(await createNodeGpu());
const { platform, env } = process;
const weights = new WeightCache(
  folderByteStore(join(dirname(tuningFilePath({ platform, env, home: homedir() })), 'weights')),
);
let trouble: WireTrouble | null = null;
let lastState = '';
let random = new Random('wire');
const wrapConnect = (connect: Connect) =>
  unreliableConnect(connect, {
    trouble: () => trouble,
    random: () => random.next(),
    after: (ms, run) => void setTimeout(run, ms),
    onHarm: (kind) => tell({ type: 'harmed', kind }),
  });

process.on('message', (command: PeerCommand) => {
  if (command.type === 'lose-device') {
    gpu.destroyDevices();
    return;
  }
  trouble = command.trouble;
  random = new Random(`wire ${command.seed}`);
});
// Nobody is left to end this process.
process.on('disconnect', () => process.exit(1));

let port: LocalEnginePort | null = null;
const contributor = new Contributor({
  createHost: () => {
    port = new LocalEnginePort(gpu.gpu, { tunings: fileTuningStore(), weights });
    return measuredAlike(new WorkerEngineHost(serverUrl, port));
  },
});
const connection = new MeshConnection<LiveSession>({
  open: async (signal) => {
    const session = await openNodeSession(serverUrl, signal, { wrapConnect });
    tellRows(session.transport, (rows) => tell({ type: 'rows', ...rows }));
    return session;
  },
  pause,
  random: Math.random,
});
connection.subscribe((state) => {
  contributor.setSession(sessionOf(state));
  sayState();
});
contributor.subscribe(sayState);

const over = new Promise<ContributorState>((resolve) => {
  contributor.subscribe((state) => {
    if (state.phase === 'idle' || state.phase === 'failed') resolve(state);
  });
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => contributor.stop());
contributor.start({ memoryLimitBytes: MEMORY_BYTES });
const last = await over;
// Cast: TypeScript does not see that `createHost` was called.
await (port as LocalEnginePort | null)?.terminated;
await sleep(FAREWELL_MS);
connection.dispose();
// WebRTC and Dawn keep threads of their own.
process.exit(last.phase === 'failed' ? 1 : 0);

/** Processes that start beside each other measure each other's noise: on one machine all are given the same. */
function measuredAlike(host: EngineHost): EngineHost {
  const measure = host.measure.bind(host);
  host.measure = async (options) => ({ ...(await measure(options)), ...RATES });
  return host;
}

function sayState(): void {
  const { state } = connection;
  const summary = summarizeState(contributor.state);
  tell({
    type: 'state',
    phase: summary.phase,
    peer: sessionOf(state)?.self ?? null,
    error: summary.error?.message ?? null,
  });
}

function tell(event: PeerEvent): void {
  if (event.type === 'state') {
    const words = JSON.stringify(event);
    if (words === lastState) return;
    lastState = words;
  }
  if (process.connected) process.send?.(event);
}

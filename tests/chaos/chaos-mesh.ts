import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openNodeSession } from '../../src/mesh/node-session.ts';
import { MeshConnection } from '../../src/mesh/mesh-connection.ts';
import type { LiveSession } from '../../src/mesh/open-session.ts';
import { pause } from '../../src/mesh/pause.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { ModelId, PeerId } from '../../src/protocol/ids.ts';
import type { MeshMember } from '../../src/protocol/signaling.ts';
import { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { copyTunings } from '../rig/copy-tunings.ts';
import { EMBEDDED_MODEL } from '../rig/local-server.ts';
import { PeerProcess } from './peer-process.ts';
import { ServerProcess } from './server-process.ts';

const POLL_MS = 50;
/** Measuring, loading and compiling on a software GPU, with others beside it. */
const SERVE_TIMEOUT_MS = 150_000;

export interface ChaosMeshOptions {
  readonly stages: number;
  readonly vulkanDriver: string | null;
  readonly onProgress: (line: string) => void;
}

/** A server and peers in processes of their own, and a requester in this one. Whatever ends, `dispose` ends all of it. */
export class ChaosMesh {
  readonly peers: PeerProcess[] = [];
  members: readonly MeshMember[] = [];
  covered: readonly ModelId[] = [];
  /** What computes, as the first peer that served called it. */
  adapter = 'unknown';

  private constructor(
    readonly server: ServerProcess,
    readonly model: ModelId,
    readonly layerCount: number,
    readonly tokenizer: Tokenizer,
    readonly stateFolder: string,
    private readonly connection: MeshConnection<LiveSession>,
    private readonly options: ChaosMeshOptions,
  ) {
    connection.subscribe((state) => {
      if (!('mesh' in state)) return;
      this.members = state.mesh.members;
      this.covered = state.mesh.covered;
      this.adapter = this.members.find((member) => member.state === 'serving')?.adapter ?? this.adapter;
    });
  }

  static async open(options: ChaosMeshOptions): Promise<ChaosMesh> {
    const { stages, vulkanDriver, onProgress } = options;
    const stateFolder = await mkdtemp(join(tmpdir(), 'skein-chaos-'));
    const server = await ServerProcess.open({ stateFolder, vulkanDriver, stages, onWords: onProgress });
    endWithThisProcess(() => server.pid);
    const connection = new MeshConnection<LiveSession>({
      open: (signal) => openNodeSession(server.url, signal),
      pause,
      random: Math.random,
    });
    const tokenizer = await Tokenizer.load(new FolderSource(EMBEDDED_MODEL));
    const session = await firstSession(connection);
    const [card] = session.models;
    if (card === undefined) throw new SkeinError('model-missing', 'The server offers no model.');
    return new ChaosMesh(server, card.id, card.layerCount, tokenizer, stateFolder, connection, options);
  }

  /** The requester's session of the moment. */
  readonly current = (): LiveSession => {
    const { latestSession } = this.connection;
    if (latestSession === null) throw new SkeinError('internal', 'The requester was never online.');
    return latestSession;
  };

  /**
   * A process of its own, started, with weights of its own on disk: who comes back is preferred for what it had. What the
   * first measured of the adapter the others need not measure again.
   */
  async addPeer(name: string): Promise<PeerProcess> {
    const { vulkanDriver, onProgress } = this.options;
    const stateFolder = join(this.stateFolder, name.replaceAll(' ', '-'));
    await copyTunings(stateFolder, this.peers[0]?.stateFolder);
    const peer = new PeerProcess(name, {
      serverUrl: this.server.url,
      stateFolder,
      vulkanDriver,
      onWords: onProgress,
    });
    this.peers.push(peer);
    endWithThisProcess(() => peer.pid);
    peer.start();
    return peer;
  }

  serves(peer: PeerId): boolean {
    return this.members.some((member) => member.peer === peer && member.state === 'serving');
  }

  /** Whether a process says that it serves, and the server says so too. */
  isServing({ isServing, peerId }: PeerProcess): boolean {
    return isServing && peerId !== null && this.serves(peerId);
  }

  /** Resolves when it is so. @throws SkeinError `timeout`, which says what was waited for. */
  async until(what: string, isSo: () => boolean, timeoutMs = SERVE_TIMEOUT_MS): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!isSo()) {
      if (performance.now() > deadline) {
        const held = this.members.map((member) => {
          return `${member.peer.slice(0, 6)} ${member.state} ${member.layerStart}-${member.layerEnd}`;
        });
        throw new SkeinError('timeout', `After ${timeoutMs / 1000} s not so: ${what}. ${held.join(', ')}`);
      }
      await sleep(POLL_MS);
    }
  }

  async dispose(): Promise<void> {
    this.connection.dispose();
    await Promise.all([...this.peers.map((peer) => peer.kill()), this.server.kill()]);
    await rm(this.stateFolder, { recursive: true, force: true });
  }
}

async function firstSession(connection: MeshConnection<LiveSession>): Promise<LiveSession> {
  for (;;) {
    const { latestSession } = connection;
    if (latestSession !== null) return latestSession;
    await sleep(POLL_MS);
  }
}

const processes = new Set<() => number | null>();

/** However this process ends, Ctrl-C included, those that it started end with it. */
function endWithThisProcess(pid: () => number | null): void {
  if (processes.size === 0) {
    process.on('exit', () => {
      for (const pidOf of processes) {
        const running = pidOf();
        if (running !== null) killQuietly(running);
      }
    });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.once(signal, () => process.exit(130));
  }
  processes.add(pid);
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SkeinError } from '../../src/protocol/errors.ts';
import { PeerProcess } from '../chaos/peer-process.ts';
import { ServerProcess } from '../chaos/server-process.ts';
import { copyTunings } from '../rig/copy-tunings.ts';

const POLL_MS = 100;
/** Measuring, loading and compiling on a software GPU, with others beside it. */
const SERVE_TIMEOUT_MS = 150_000;

export interface ApiMeshOptions {
  readonly stages: number;
  readonly vulkanDriver: string | null;
  readonly onWords: (line: string) => void;
  /** More of the server's command line. */
  readonly serverArguments?: readonly string[];
}

/** `skein serve` with its API, and as many peers as there are stages, each in a process of its own. */
export class ApiMesh {
  private constructor(
    readonly server: ServerProcess,
    readonly peers: readonly PeerProcess[],
    private readonly stateFolder: string,
  ) {}

  /** Resolves when every stage serves. @throws SkeinError `timeout`. */
  static async open(options: ApiMeshOptions): Promise<ApiMesh> {
    const { stages, vulkanDriver, onWords, serverArguments = [] } = options;
    const stateFolder = await mkdtemp(join(tmpdir(), 'skein-api-'));
    const server = await ServerProcess.open({
      stateFolder,
      vulkanDriver,
      stages,
      onWords,
      arguments: ['--log-level', 'warn', ...serverArguments],
    });
    const peers: PeerProcess[] = [];
    const mesh = new ApiMesh(server, peers, stateFolder);
    try {
      for (let index = 0; index < stages; index++) {
        const peerFolder = join(stateFolder, `peer-${index}`);
        await copyTunings(peerFolder, peers[0]?.stateFolder);
        const peer = new PeerProcess(`peer ${index}`, {
          serverUrl: server.url,
          stateFolder: peerFolder,
          vulkanDriver,
          onWords,
        });
        peers.push(peer);
        peer.start();
      }
      await mesh.#whole();
      return mesh;
    } catch (thrown) {
      await mesh.dispose();
      throw thrown;
    }
  }

  async dispose(): Promise<void> {
    await Promise.all([...this.peers.map((peer) => peer.kill()), this.server.kill()]);
    await rm(this.stateFolder, { recursive: true, force: true });
  }

  async #whole(): Promise<void> {
    const deadline = performance.now() + SERVE_TIMEOUT_MS;
    for (;;) {
      const covered = (await this.server.health())?.covered ?? [];
      if (covered.length > 0 && this.peers.every(({ isServing }) => isServing)) return;
      if (performance.now() > deadline) {
        throw new SkeinError('timeout', `After ${SERVE_TIMEOUT_MS / 1000} s the mesh does not serve.`);
      }
      await sleep(POLL_MS);
    }
  }
}

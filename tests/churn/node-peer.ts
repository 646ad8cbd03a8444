import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { PeerId } from '../../src/protocol/ids.ts';
import { BOOTSTRAP, childEnvironment } from '../rig/child-environment.ts';
import type { ChurnPeer } from './churn-peer.ts';

const MEMORY_MIB = '512';

export interface NodePeerOptions {
  readonly serverUrl: string;
  /** Where weights and tunings are kept from one start to the next. */
  readonly cacheFolder: string;
  /** Manifest of the Vulkan driver to use, where it is not the machine's own. */
  readonly vulkanDriver: string | null;
  readonly onWords: (line: string) => void;
}

/** `skein join` in a process of its own. */
export class NodePeer implements ChurnPeer {
  readonly kind = 'node';
  #process: ChildProcess | null = null;
  #ended: Promise<unknown> = Promise.resolve();
  #peer: PeerId | null = null;
  #isLending = false;

  constructor(
    readonly name: string,
    private readonly options: NodePeerOptions,
  ) {}

  start(): Promise<void> {
    const { serverUrl, cacheFolder, vulkanDriver, onWords } = this.options;
    const args = [BOOTSTRAP, 'skein', 'join', serverUrl, '--memory-mib', MEMORY_MIB, '--json'];
    const child = spawn(process.execPath, args, {
      env: childEnvironment({ stateFolder: cacheFolder, vulkanDriver }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#peer = null;
    this.#isLending = false;
    child.stdout.setEncoding('utf8').on('data', (words: string) => {
      const named = /"peer":"([0-9a-f]{32})"/.exec(words)?.[1];
      if (this.#process !== child) return;
      if (named !== undefined) this.#peer = named as PeerId;
      if (/"phase":"(waiting|loading|serving)"/.test(words)) this.#isLending = true;
    });
    child.stderr.setEncoding('utf8').on('data', (words: string) => {
      for (const line of words.split('\n')) if (line.startsWith('skein:')) onWords(`${this.name}: ${line}`);
    });
    this.#process = child;
    this.#ended = once(child, 'exit');
    return Promise.resolve();
  }

  isLending(): Promise<boolean> {
    return Promise.resolve(this.#isLending);
  }

  peerId(): Promise<PeerId | null> {
    return Promise.resolve(this.#peer);
  }

  leave(): Promise<void> {
    this.#process?.kill('SIGINT');
    return Promise.resolve();
  }

  async crash(): Promise<void> {
    this.#process?.kill('SIGKILL');
    await this.#ended;
  }

  async gone(): Promise<void> {
    await this.#ended;
  }
}

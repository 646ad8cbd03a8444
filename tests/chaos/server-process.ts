import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { SkeinError } from '../../src/protocol/errors.ts';
import { BOOTSTRAP, childEnvironment } from '../rig/child-environment.ts';
import type { ChildOptions } from '../rig/child-environment.ts';

const START_TIMEOUT_MS = 30_000;
const POLL_MS = 20;

export interface ServerProcessOptions extends ChildOptions {
  readonly stages: number;
  readonly onWords: (line: string) => void;
  /** More of the command line; what it says last counts. */
  readonly arguments?: readonly string[];
}

/** What `/healthz` says of who is there. */
export interface ServerHealth {
  readonly peers: number;
  readonly contributors: number;
  readonly covered: readonly string[];
}

/** `skein serve` in a process of its own, that can be killed and started again on its port. */
export class ServerProcess {
  readonly url: string;
  readonly #options: ServerProcessOptions;
  readonly #port: number;
  #child: ChildProcess | null = null;
  #ended: Promise<unknown> = Promise.resolve();

  private constructor(port: number, options: ServerProcessOptions) {
    this.#port = port;
    this.#options = options;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async open(options: ServerProcessOptions): Promise<ServerProcess> {
    const server = new ServerProcess(await freePort(), options);
    await server.start();
    return server;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Resolves when it listens. @throws SkeinError `timeout`. */
  async start(): Promise<void> {
    const { stages, onWords, arguments: more = [] } = this.#options;
    const args = ['skein', 'serve', '--host', '127.0.0.1', '--port', String(this.#port)];
    const child = spawn(process.execPath, [BOOTSTRAP, ...args, '--stages', String(stages), ...more], {
      env: childEnvironment(this.#options),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    this.#ended = once(child, 'exit').then(() => {
      if (this.#child === child) this.#child = null;
    });
    child.stderr.setEncoding('utf8').on('data', (words: string) => {
      for (const line of words.split('\n')) if (line !== '') onWords(`server: ${line}`);
    });
    const deadline = performance.now() + START_TIMEOUT_MS;
    while ((await this.health()) === null) {
      if (performance.now() > deadline || child.exitCode !== null) {
        throw new SkeinError('timeout', `The server did not come to listen on port ${this.#port}.`);
      }
      await sleep(POLL_MS);
    }
  }

  /** kill -9; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  /** Null while nobody listens. */
  async health(): Promise<ServerHealth | null> {
    try {
      const response = await fetch(`${this.url}/healthz`, { signal: AbortSignal.timeout(1_000) });
      return (await response.json()) as ServerHealth;
    } catch {
      return null;
    }
  }
}

/** One that is free now and stays so, most likely: the server comes back to it. */
async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string')
    throw new SkeinError('internal', 'There is no free port.');
  return address.port;
}

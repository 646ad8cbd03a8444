import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { PeerId, RequestId } from '../../src/protocol/ids.ts';
import { BOOTSTRAP } from '../rig/child-environment.ts';
import type { HostileEvent, HostileKind } from './hostile-kinds.ts';

/** `hostile-peer` in a process of its own. */
export class HostileProcess {
  peer: PeerId | null = null;
  /** Frames of a flood that honest peers did not take. */
  cutOffs = 0;
  /** Requests that it was given. */
  readonly took = new Set<RequestId>();
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(
    serverUrl: string,
    readonly kind: HostileKind,
    onWords: (line: string) => void,
  ) {
    this.#child = fork(BOOTSTRAP, ['hostile-peer', serverUrl, kind], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child.on('message', (event: HostileEvent) => {
      if (event.type === 'peer') this.peer = event.peer;
      else if (event.type === 'took') this.took.add(event.requestId);
      else this.cutOffs += 1;
    });
    this.#child.stderr
      ?.setEncoding('utf8')
      .on('data', (words: string) => onWords(`${kind}: ${words.trim()}`));
    this.#ended = once(this.#child, 'exit');
  }

  get pid(): number | null {
    return this.#child.exitCode === null ? (this.#child.pid ?? null) : null;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

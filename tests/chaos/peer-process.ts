import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { ContributorState } from '../../src/contributor/contributor-state.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import { Listeners } from '../../src/mesh/listeners.ts';
import { BOOTSTRAP, childEnvironment } from '../rig/child-environment.ts';
import type { ChildOptions } from '../rig/child-environment.ts';
import type { PeerCommand, PeerEvent } from './peer-messages.ts';
import type { PromptRows } from './tell-rows.ts';

/** A tenth of a second of a slowed down process, and how much of it it is stopped. */
const SLOW_PERIOD_MS = 100;
const SLOW_STOPPED_MS = 70;
/** A process that ended by itself is started anew after this. */
const REVIVAL_MS = 1_000;

export interface PeerProcessOptions extends ChildOptions {
  readonly serverUrl: string;
  readonly onWords: (line: string) => void;
}

/** `chaos-peer` in a process of its own, and everything that can be done to it. It may end and be started again; a process that ends of its own accord is started anew. */
export class PeerProcess {
  /** Messages that it harmed so far, over all its lives. */
  harmed = 0;
  /** Times that it ended though nobody made it, and how. */
  readonly crashes: string[] = [];
  readonly #options: PeerProcessOptions;
  readonly #rows = new Listeners<[rows: PromptRows & { readonly peer: PeerId }]>();
  #child: ChildProcess | null = null;
  #phase: ContributorState['phase'] = 'idle';
  #peerId: PeerId | null = null;
  #ended: Promise<unknown> = Promise.resolve();
  #isEnding = false;
  #slowing: NodeJS.Timeout | null = null;

  constructor(
    readonly name: string,
    options: PeerProcessOptions,
  ) {
    this.#options = options;
  }

  get stateFolder(): string {
    return this.#options.stateFolder;
  }

  /** Null while there is none. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** What the server calls it now; null before it is known. */
  get peerId(): PeerId | null {
    return this.#peerId;
  }

  get isServing(): boolean {
    return this.#phase === 'serving';
  }

  /** Whether it has measured itself, at least. */
  get isLending(): boolean {
    return ['waiting', 'loading', 'serving'].includes(this.#phase);
  }

  /** Rows of prompts that came to it. @returns a function that stops listening. */
  onRows(listener: (rows: PromptRows & { readonly peer: PeerId }) => void): () => void {
    return this.#rows.add(listener);
  }

  start(): void {
    const { serverUrl, onWords } = this.#options;
    const child = fork(BOOTSTRAP, ['chaos-peer', serverUrl], {
      env: childEnvironment(this.#options),
      // What this process was started with is its own business: the bootstrap brings what the child needs.
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child = child;
    this.#forget();
    this.#isEnding = false;
    child.on('message', (event: PeerEvent) => {
      if (this.#child === child) this.#hear(event);
    });
    child.stderr?.setEncoding('utf8').on('data', (words: string) => {
      const own = words.split('\n').filter((line) => line !== '' && !line.startsWith('Warning:'));
      for (const line of own) onWords(`${this.name}: ${line}`);
    });
    this.#ended = once(child, 'exit').then(([code, signal]) => {
      if (this.#child !== child) return;
      this.#child = null;
      this.#forget();
      this.#stopSlowing();
      if (this.#isEnding) return;
      const how = String(code ?? signal);
      this.crashes.push(how);
      onWords(`${this.name} ended by itself: ${how}`);
      setTimeout(() => {
        if (!this.#isEnding && this.#child === null) this.start();
      }, REVIVAL_MS);
    });
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.#isEnding = true;
    this.#stopSlowing();
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  /** Told to stop; resolves at once. */
  leave(): void {
    this.#isEnding = true;
    this.#child?.kill('SIGINT');
  }

  /** Resolves when the process has ended. */
  async gone(): Promise<void> {
    await this.#ended;
  }

  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Stops it for most of every tenth of a second. */
  slowDown(): void {
    this.#stopSlowing();
    this.#slowing = setInterval(() => {
      this.freeze();
      setTimeout(() => this.thaw(), SLOW_STOPPED_MS);
    }, SLOW_PERIOD_MS);
  }

  speedUp(): void {
    this.#stopSlowing();
  }

  command(command: PeerCommand): void {
    if (this.#child?.connected === true) this.#child.send(command);
  }

  #forget(): void {
    this.#phase = 'idle';
    this.#peerId = null;
  }

  #stopSlowing(): void {
    if (this.#slowing !== null) clearInterval(this.#slowing);
    this.#slowing = null;
    this.thaw();
  }

  #hear(event: PeerEvent): void {
    switch (event.type) {
      case 'state': {
        const { phase, peer, error } = event;
        this.#phase = phase;
        this.#peerId = peer;
        if (error !== null) this.#options.onWords(`${this.name}: ${phase}: ${error}`);
        break;
      }
      case 'rows':
        if (this.#peerId !== null) this.#rows.tell({ ...event, peer: this.#peerId });
        break;
      case 'harmed':
        this.harmed += 1;
    }
  }
}

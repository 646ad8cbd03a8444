import type { MessagePipe } from './frame-channel.ts';
import type { Connect } from './peer-connection.ts';

const TICK_MS = 100;
/** A tick this late says that the process stood still. */
const LATE_MS = 500;
/** WebRTC's own threads have worked off what happened meanwhile after this. */
const SETTLE_MS = 250;

export interface StandstillDeps {
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Runs something again and again, without keeping the process alive. */
  readonly every: (ms: number, run: () => void) => void;
}

/** Knows whether this process stood still a moment ago: a laptop that slept, a debugger, a stopped job. */
export class StandstillWatch {
  readonly #deps: StandstillDeps;
  readonly #waiting = new Set<() => void>();
  #tickedAtMs: number;
  #steadyAtMs = -Infinity;

  constructor(deps: StandstillDeps) {
    this.#deps = deps;
    this.#tickedAtMs = deps.now();
    deps.every(TICK_MS, () => this.#tick());
  }

  get isSteady(): boolean {
    const nowMs = this.#deps.now();
    return nowMs - this.#tickedAtMs <= LATE_MS && nowMs >= this.#steadyAtMs;
  }

  /** Runs it once, when the process is steady again. */
  whenSteady(run: () => void): void {
    this.#waiting.add(run);
  }

  #tick(): void {
    const nowMs = this.#deps.now();
    if (nowMs - this.#tickedAtMs > LATE_MS) this.#steadyAtMs = nowMs + SETTLE_MS;
    this.#tickedAtMs = nowMs;
    if (nowMs < this.#steadyAtMs) return;
    for (const run of this.#waiting) {
      this.#waiting.delete(run);
      run();
    }
  }
}

/**
 * Connections that write nothing right after a standstill. Others have ended their links meanwhile, and the thread of @roamhq/wrtc
 * that learns of it lets the channel go between two looks that `send` takes at it, which ends the process with a
 * segmentation fault. When that thread has caught up, closed channels say that they are closed.
 */
export function steadyConnect(connect: Connect, watch: StandstillWatch): Connect {
  return (options) => connect({ ...options, onOpen: (pipe) => options.onOpen(steadyPipe(pipe, watch)) });
}

function steadyPipe(pipe: MessagePipe, watch: StandstillWatch): MessagePipe {
  const held: Uint8Array<ArrayBuffer>[] = [];
  let onDrain: () => void = () => undefined;
  const release = () => {
    for (const message of held.splice(0)) pipe.send(message);
    onDrain();
  };
  return {
    get bufferedAmount() {
      return pipe.bufferedAmount + held.reduce((sum, { byteLength }) => sum + byteLength, 0);
    },
    send: (message) => {
      if (held.length === 0 && watch.isSteady) {
        pipe.send(message);
        return;
      }
      if (held.length === 0) watch.whenSteady(release);
      held.push(message);
    },
    close: () => pipe.close(),
    listen: (listener) => {
      onDrain = listener.drain;
      pipe.listen(listener);
    },
  };
}

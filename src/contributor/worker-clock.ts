import { systemClock } from '../protocol/clock.ts';
import type { Clock } from '../protocol/clock.ts';
import type { TimerCommand } from './timer-service.ts';

/** The part of `Worker` that is used, so that a test can stand in for it. */
export interface ClockPort {
  postMessage(command: TimerCommand): void;
  onmessage: ((event: MessageEvent<number>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
}

interface Timer {
  readonly dueAtMs: number;
  readonly run: () => void;
  /** Where the page's own timers do it. */
  cancelOwn: (() => void) | null;
}

/**
 * Timers that a worker counts: those of a hidden page come once a second or once a minute, and its links and promises have shorter
 * deadlines. Messages reach a hidden page at once. Without the worker the page's own timers do.
 */
export class WorkerClock implements Clock {
  readonly #own: Clock;
  #port: ClockPort | null;
  readonly #timers = new Map<number, Timer>();
  #nextId = 0;

  constructor(port: ClockPort | null, own: Clock = systemClock) {
    this.#port = port;
    this.#own = own;
    if (!port) return;
    port.onmessage = ({ data }) => this.#ring(data);
    port.onerror = () => this.#goOnAlone();
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#own.now();
  }

  after(delayMs: number, run: () => void): () => void {
    const id = this.#nextId++;
    const timer: Timer = { dueAtMs: this.now() + delayMs, run, cancelOwn: null };
    this.#timers.set(id, timer);
    if (this.#port) this.#port.postMessage({ type: 'set', id, delayMs });
    else this.#setOwn(id, timer);
    return () => {
      if (!this.#timers.delete(id)) return;
      if (timer.cancelOwn) timer.cancelOwn();
      else this.#port?.postMessage({ type: 'cancel', id });
    };
  }

  #ring(id: number): void {
    const timer = this.#timers.get(id);
    if (!timer || !this.#timers.delete(id)) return;
    timer.run();
  }

  #setOwn(id: number, timer: Timer): void {
    timer.cancelOwn = this.#own.after(Math.max(0, timer.dueAtMs - this.now()), () => this.#ring(id));
  }

  /** The worker could not be loaded or has failed: what it was asked for is counted here. */
  #goOnAlone(): void {
    this.#port = null;
    for (const [id, timer] of this.#timers) if (!timer.cancelOwn) this.#setOwn(id, timer);
  }
}

/** The clock of a page; of its own timers where there are no workers. */
export function startWorkerClock(): WorkerClock {
  return new WorkerClock(startWorker());
}

function startWorker(): ClockPort | null {
  if (typeof Worker === 'undefined') return null;
  try {
    return new Worker(new URL('./clock-worker.ts', import.meta.url), { type: 'module', name: 'skein-clock' });
  } catch {
    // Forbidden by a content security policy of a page that embeds this.
    return null;
  }
}

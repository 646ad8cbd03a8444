/** Sleeps are this share of the wait so far: that much later, at most, is it seen that the GPU is done. */
const SLEEP_SHARE = 1 / 32;
/** Everything else that the process has to hear waits no longer than this. */
const MAX_SLEEP_MS = 0.25;

const NATIVE_FUNCTION = /^function \(\) \{ \[native code\] \}$/;
const PACED = Symbol('paced');

type Callback = (...args: unknown[]) => void;
type SetImmediate = (callback: Callback, ...args: unknown[]) => unknown;

/** What pacing needs of the world. Times are milliseconds. */
export interface PollingDeps {
  readonly setImmediate: SetImmediate;
  readonly now: () => number;
  /** Blocks the thread. */
  readonly sleep: (ms: number) => void;
}

/**
 * While a GPU computes, Dawn polls it from `setImmediate`, as fast as the event loop turns, with a new native function for each poll.
 * That takes a core from whatever else computes, and leaves garbage that only a full collection frees: a process that decodes
 * stood still for a tenth of a second every second. This lets the thread sleep between polls, the longer the wait has lasted;
 * everybody else's `setImmediate` stays as it was. Idempotent. Dawn looks the global `setImmediate` up for every poll.
 */
export function paceDawnPolling(): void {
  const { setImmediate } = globalThis;
  if (PACED in setImmediate) return;
  const never = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const paced = pacedImmediate({
    setImmediate,
    now: () => performance.now(),
    sleep: (ms) => void Atomics.wait(never, 0, 0, ms),
  });
  globalThis.setImmediate = Object.assign(paced, setImmediate, { [PACED]: true }) as typeof setImmediate;
}

/** The `setImmediate` that sleeps before each poll of Dawn's. */
export function pacedImmediate({ setImmediate, now, sleep }: PollingDeps): SetImmediate {
  let beganAtMs = 0;
  let isPolling = false;
  return (callback, ...args) => {
    if (!isDawns(callback)) return setImmediate(callback, ...args);
    // Dawn asks for the next poll of a wait during the one before.
    if (!isPolling) beganAtMs = now();
    return setImmediate(() => {
      sleep(Math.min((now() - beganAtMs) * SLEEP_SHARE, MAX_SLEEP_MS));
      isPolling = true;
      try {
        callback();
      } finally {
        isPolling = false;
      }
    });
  };
}

function isDawns(callback: Callback): boolean {
  return callback.name === '' && NATIVE_FUNCTION.test(Function.prototype.toString.call(callback));
}

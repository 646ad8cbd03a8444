/**
 * What is reported while something is waited for, and then that itself. Who stops listening before it is there gives up
 * the wait.
 * @param start gets a function to report with, and a signal that fires when nobody waits any more.
 * @throws what `start` rejects with.
 */
export async function* whileWaiting<Report, Value>(
  start: (report: (report: Report) => void, signal: AbortSignal) => Promise<Value>,
  signal: AbortSignal,
): AsyncGenerator<Report, Value, void> {
  const reports: Report[] = [];
  const abandoned = new AbortController();
  const wait = { isSettled: false, wake: (): void => undefined };
  const value = start(
    (report) => {
      reports.push(report);
      wait.wake();
    },
    AbortSignal.any([signal, abandoned.signal]),
  );
  const settle = () => {
    wait.isSettled = true;
    wait.wake();
  };
  value.then(settle, settle);
  try {
    for (;;) {
      const report = reports.shift();
      if (report !== undefined) yield report;
      else if (wait.isSettled) return await value;
      else await new Promise<void>((resolve) => (wait.wake = resolve));
    }
  } finally {
    abandoned.abort();
  }
}

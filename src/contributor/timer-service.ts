/** Page → clock worker. */
export type TimerCommand =
  | { readonly type: 'set'; readonly id: number; readonly delayMs: number }
  | { readonly type: 'cancel'; readonly id: number };

/** What the clock worker does: it counts time for a page whose own timers the browser slows down. @returns takes a command. */
export function serveTimers(ring: (id: number) => void): (command: TimerCommand) => void {
  const timers = new Map<number, ReturnType<typeof setTimeout>>();
  return (command) => {
    if (command.type === 'cancel') {
      clearTimeout(timers.get(command.id));
      timers.delete(command.id);
      return;
    }
    const timer = setTimeout(() => {
      timers.delete(command.id);
      ring(command.id);
    }, command.delayMs);
    timers.set(command.id, timer);
  };
}

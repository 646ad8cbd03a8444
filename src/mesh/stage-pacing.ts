import type { PeerId } from '../protocol/ids.ts';
import { SLOW_HOP_PATIENCE_MS } from '../protocol/limits.ts';
import type { OpenSequences } from './open-sequences.ts';
import type { StageContext } from './stage-context.ts';

/**
 * What slow next hops cost the others. A step waits for its links, but not for long: then the sequences that go over the slow
 * one are paused until it has taken what it was sent, and all others go on.
 */
export class StagePacing {
  /** Sends that take longer than a step waits, by next hop. */
  readonly #late = new Map<PeerId, number>();

  constructor(
    private readonly context: StageContext,
    private readonly sequences: OpenSequences,
  ) {}

  /** @param sent never rejects. @returns when the next step may run. */
  wait(to: PeerId, sent: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      let isLate = this.#late.has(to);
      const giveUp = () => {
        isLate = true;
        this.#count(to, 1);
        resolve();
      };
      const cancel = isLate ? () => undefined : this.context.clock.after(SLOW_HOP_PATIENCE_MS, giveUp);
      if (isLate) giveUp();
      void sent.then(() => {
        cancel();
        if (isLate) this.#count(to, -1);
        resolve();
      });
    });
  }

  #count(to: PeerId, change: number): void {
    const before = this.#late.get(to) ?? 0;
    const now = before + change;
    if (now === 0) this.#late.delete(to);
    else this.#late.set(to, now);
    const isLate = now > 0;
    if (isLate === before > 0) return;
    for (const { sequence } of this.sequences.all) {
      if (sequence.downstream === to) this.context.executor.pause(sequence.requestId, isLate);
    }
  }
}

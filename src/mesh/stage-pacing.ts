import type { PeerId } from '../protocol/ids.ts';
import { SLOW_HOP_PATIENCE_MS, STUCK_HOP_MS } from '../protocol/limits.ts';
import type { OpenSequences } from './open-sequences.ts';
import { peerError } from './peer-errors.ts';
import type { ServedSequence } from './served-sequence.ts';
import type { StageContext } from './stage-context.ts';

/** A next hop that takes longer than a step waits. */
interface SlowHop {
  /** Sends under way. */
  sends: number;
  cancelStuck: () => void;
}

/**
 * What slow next hops cost the others. A step waits for its links, but not for long: then the sequences that go over the slow
 * one are paused until it has taken what it was sent, and all others go on.
 */
export class StagePacing {
  readonly #slow = new Map<PeerId, SlowHop>();

  constructor(
    private readonly context: StageContext,
    private readonly sequences: OpenSequences,
  ) {}

  /** @param sent never rejects. @returns when the next step may run. */
  wait(to: PeerId, sent: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      let isLate = false;
      const giveUp = () => {
        isLate = true;
        this.#begin(to);
        resolve();
      };
      let cancel: () => void = () => undefined;
      if (this.#slow.has(to)) giveUp();
      else cancel = this.context.clock.after(SLOW_HOP_PATIENCE_MS, giveUp);
      void sent.then(() => {
        cancel();
        if (isLate) this.#end(to);
        resolve();
      });
    });
  }

  #begin(to: PeerId): void {
    const slow = this.#slow.get(to);
    if (slow) {
      slow.sends += 1;
      return;
    }
    this.#slow.set(to, { sends: 1, cancelStuck: this.#whenStuck(to) });
    for (const { sequence } of this.#over(to)) this.context.executor.pause(sequence.requestId, true);
  }

  #end(to: PeerId): void {
    const slow = this.#slow.get(to);
    if (!slow) return;
    slow.sends -= 1;
    slow.cancelStuck();
    if (slow.sends > 0) {
      slow.cancelStuck = this.#whenStuck(to);
      return;
    }
    this.#slow.delete(to);
    for (const { sequence } of this.#over(to)) this.context.executor.pause(sequence.requestId, false);
  }

  #whenStuck(to: PeerId): () => void {
    return this.context.clock.after(STUCK_HOP_MS, () => {
      const what = `took nothing of what it was sent for ${STUCK_HOP_MS / 1000} s. Ask for a new route.`;
      for (const served of this.#over(to)) {
        this.sequences.fail(served, peerError('timeout', to, what), 'suspended');
      }
    });
  }

  #over(to: PeerId): ServedSequence[] {
    return this.sequences.all.filter(({ sequence }) => sequence.downstream === to);
  }
}

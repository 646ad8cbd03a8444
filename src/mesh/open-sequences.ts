import { SkeinError } from '../protocol/errors.ts';
import type { PeerId, RequestId } from '../protocol/ids.ts';
import { MAX_SUSPENDED_SEQUENCES } from '../protocol/limits.ts';
import type { ServedSequence } from './served-sequence.ts';
import type { StageContext } from './stage-context.ts';

/**
 * What becomes of a request that failed here.
 * `suspended`: what is here of it is sound, and waits for a later epoch: keys, values and journal.
 * `ended`: it is of no use any more.
 */
export type Aftermath = 'suspended' | 'ended';

/** The requests that a stage has, and how they end. */
export class OpenSequences {
  readonly #context: StageContext;
  /** Suspended ones in the order in which that happened, among all others. */
  readonly #all = new Map<RequestId, ServedSequence>();

  constructor(context: StageContext) {
    this.#context = context;
  }

  /** A copy. */
  get all(): ServedSequence[] {
    return [...this.#all.values()];
  }

  get suspended(): ServedSequence[] {
    return this.all.filter(({ isSuspended }) => isSuspended);
  }

  get(requestId: RequestId): ServedSequence | null {
    return this.#all.get(requestId) ?? null;
  }

  /** Of that epoch; a frame for another is counted as dropped. */
  find({ requestId, epoch }: { requestId: RequestId; epoch: number }): ServedSequence | null {
    const served = this.get(requestId);
    if (served?.sequence.epoch === epoch) return served;
    this.#context.counters.dropped += 1;
    return null;
  }

  /** Like `find`, where it has not failed. */
  findRunning(part: { requestId: RequestId; epoch: number }): ServedSequence | null {
    const served = this.find(part);
    if (!served?.isSuspended) return served;
    this.#context.counters.dropped += 1;
    return null;
  }

  isRunning(served: ServedSequence): boolean {
    return this.#isHere(served) && !served.isSuspended;
  }

  add(served: ServedSequence): void {
    this.#all.set(served.sequence.requestId, served);
  }

  /** It is somebody else's from now on what becomes of it in executor and journals. */
  remove(served: ServedSequence): void {
    served.stop();
    this.#all.delete(served.sequence.requestId);
  }

  /** The requester is told, once. Nobody else is, where the request may go on. */
  fail(served: ServedSequence, error: SkeinError, aftermath: Aftermath): void {
    if (!this.#isHere(served)) return;
    if (!served.isSuspended) this.#context.sender.postFailure(served.sequence.request, error);
    if (aftermath === 'ended') this.end(served);
    else this.suspend(served);
  }

  /**
   * @param blockHashes of prompt and answer, as far as somebody who saw them named them.
   * @param isMoved whether it goes on elsewhere: then the hops behind this one are not told, who may be part of that.
   */
  end(served: ServedSequence, blockHashes: readonly string[] = [], isMoved = false): void {
    if (!this.#isHere(served)) return;
    const { requestId, epoch, downstream } = served.sequence;
    this.remove(served);
    this.#context.journals.drop(requestId);
    this.#context.executor.close(requestId, blockHashes);
    if (isMoved || downstream === null || downstream === served.lostPeer) return;
    const close = { type: 'close', requestId, epoch, blockHashes, isMoved } as const;
    this.#context.sender.post(downstream, close);
  }

  /**
   * For a request of this requester: whoever waits for a later epoch goes first, the longest first; then one that nobody ever fed,
   * of whoever has more here than this requester would have.
   * @returns whether there was one.
   */
  makeRoom(requester: PeerId): boolean {
    const [longest] = this.suspended;
    if (longest) this.end(longest);
    else {
      const unfed = this.#unfedOfGreediest(requester);
      if (unfed === null) return false;
      this.fail(unfed, crowdedError(unfed.sequence.requestId), 'ended');
    }
    return true;
  }

  /** It stands still, and what is here of it waits for a later epoch; else it ends after a while. */
  suspend(served: ServedSequence): void {
    if (!this.isRunning(served)) return;
    const { requestId } = served.sequence;
    served.suspend(() => this.end(served));
    this.#context.journals.promise(requestId, false);
    this.#all.delete(requestId);
    this.#all.set(requestId, served);
    const [longest, ...others] = this.suspended;
    if (longest && others.length >= MAX_SUSPENDED_SEQUENCES) this.end(longest);
  }

  #unfedOfGreediest(requester: PeerId): ServedSequence | null {
    const counts = new Map<PeerId, number>();
    for (const { sequence } of this.#all.values()) {
      const { requester: owner } = sequence.request;
      counts.set(owner, (counts.get(owner) ?? 0) + 1);
    }
    const most = Math.max(0, ...counts.values());
    if (most <= (counts.get(requester) ?? 0) + 1) return null;
    const isTheirs = ({ sequence }: ServedSequence) => counts.get(sequence.request.requester) === most;
    return this.all.find((served) => isTheirs(served) && !served.sequence.isFed) ?? null;
  }

  #isHere(served: ServedSequence): boolean {
    return this.#all.get(served.sequence.requestId) === served;
  }
}

function crowdedError(requestId: RequestId): SkeinError {
  return new SkeinError(
    'busy',
    `This stage is full, and nothing came of request ${requestId} yet: its place went to another. Try again when others end.`,
  );
}

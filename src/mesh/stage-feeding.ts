import { SkeinError } from '../protocol/errors.ts';
import type { FrameOf } from '../protocol/frames.ts';
import type { PeerId, RequestId } from '../protocol/ids.ts';
import { MAX_HELD_BYTES } from '../protocol/limits.ts';
import type { OpenSequences } from './open-sequences.ts';
import { blame, peerError } from './peer-errors.ts';
import type { ServedSequence } from './served-sequence.ts';
import type { StageContext } from './stage-context.ts';
import type { StageRows, StageSequence, TakenRows } from './stage-sequence.ts';

/** Takes rows in, and hands them to the executor in order. */
export class StageFeeding {
  constructor(
    private readonly context: StageContext,
    private readonly sequences: OpenSequences,
  ) {}

  takeTokens(from: PeerId, { sequences }: FrameOf<'tokens'>): void {
    for (const part of sequences) {
      this.#take(from, part, (sequence) => sequence.takeTokens(from, part.position, part.tokenIds));
    }
  }

  takeActivations(from: PeerId, { sequences }: FrameOf<'activations'>): void {
    for (const part of sequences) {
      const { position, rows, values } = part;
      this.#take(from, part, (sequence) => sequence.takeActivations(from, position, rows, values));
    }
  }

  /** Nothing stands in the way of its rows any more. */
  release(served: ServedSequence): void {
    const held = served.held ?? [];
    served.held = null;
    for (const rows of held) this.#feed(served, rows);
  }

  /** Rows of somebody from whom none come at this stage. A peer of the route may mean another stage of this one. */
  refuse(from: PeerId, { request, requestId }: StageSequence): void {
    const isOfRoute = request.requester === from || request.route.hops.some(({ peer }) => peer === from);
    if (isOfRoute) this.context.counters.rejected += 1;
    else this.context.reject(from, peerError('bad-frame', from, `has no part in request ${requestId}.`));
  }

  #take(
    from: PeerId,
    part: { requestId: RequestId; epoch: number },
    read: (sequence: StageSequence) => TakenRows,
  ): void {
    const served = this.sequences.findRunning(part);
    if (!served) return;
    try {
      const rows = read(served.sequence);
      if (rows === 'of a stranger') this.refuse(from, served.sequence);
      else if (rows === 'known') this.context.counters.dropped += 1;
      else this.#holdOrFeed(served, rows);
    } catch (thrown) {
      const error = blame(from, thrown);
      this.context.reject(from, error);
      this.sequences.fail(served, error, 'suspended');
    }
  }

  #holdOrFeed(served: ServedSequence, rows: StageRows): void {
    served.feed();
    if (served.held === null) this.#feed(served, rows);
    else if (this.#bytesHeld() + sizeOf(rows) <= MAX_HELD_BYTES) served.held.push(rows);
    else this.sequences.fail(served, blame(this.context.identity.self, heldError()), 'suspended');
  }

  /** Over all requests. */
  #bytesHeld(): number {
    const held = this.sequences.all.flatMap((served) => served.held ?? []);
    return held.reduce((sum, rows) => sum + sizeOf(rows), 0);
  }

  #feed(served: ServedSequence, { position, input }: StageRows): void {
    if (!this.sequences.isRunning(served)) return;
    const { requestId, upstream } = served.sequence;
    try {
      this.context.executor.push(requestId, position, input);
    } catch (thrown) {
      const error = blame(upstream, thrown);
      this.context.reject(upstream, error);
      this.sequences.fail(served, error, 'suspended');
    }
  }
}

function sizeOf({ input }: StageRows): number {
  return input.kind === 'tokens' ? input.tokenIds.byteLength : input.values.byteLength;
}

function heldError(): SkeinError {
  return new SkeinError(
    'busy',
    `More than ${MAX_HELD_BYTES} bytes wait here for hops that cannot be reached yet. Ask for a new route.`,
    { data: { limit: MAX_HELD_BYTES } },
  );
}

import type { FrameOf } from '../protocol/frames.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { OpenSequences } from './open-sequences.ts';
import type { StageContext } from './stage-context.ts';
import type { StageFeeding } from './stage-feeding.ts';

/** Answers how far requests are, whatever the engine is doing, and passes on what the hops behind say. */
export class StageInquiries {
  constructor(
    private readonly context: StageContext,
    private readonly sequences: OpenSequences,
    private readonly feeding: StageFeeding,
  ) {}

  /** Of a request that failed here too: its requester may not have heard of that. */
  answer(from: PeerId, inquire: FrameOf<'inquire'>): void {
    const served = this.sequences.find(inquire);
    if (!served) return;
    const { upstream, downstream, hopIndex, request, receivedUpTo } = served.sequence;
    const { requestId, epoch, nonce } = inquire;
    if (from !== upstream) {
      this.feeding.refuse(from, served.sequence);
      return;
    }
    if (served.inquiry?.nonce === nonce) {
      this.context.counters.dropped += 1;
      return;
    }
    // Whoever asks still wants it: it may wait for room at a hop before or behind this one.
    served.touch();
    const behind = request.route.hops.map((_, index) => index).slice(hopIndex + 1);
    served.inquiry = { nonce, awaited: new Set(behind) };
    const { steps, typicalStepMs } = this.context.executor.pace;
    const { sentUpTo } = served;
    const position = { receivedUpTo, sentUpTo };
    const pace = { steps: steps % 2 ** 32, typicalStepMs };
    this.context.sender.post(upstream, {
      type: 'state',
      requestId,
      epoch,
      nonce,
      hop: hopIndex,
      ...position,
      ...pace,
    });
    if (downstream !== null) this.context.sender.post(downstream, inquire);
  }

  /** What each hop behind this one says once. All else is for a requester on the same peer, or nobody's. */
  relay(from: PeerId, state: FrameOf<'state'>): void {
    const served = this.sequences.get(state.requestId);
    if (served?.sequence.epoch !== state.epoch || served.sequence.downstream !== from) return;
    if (served.inquiry?.nonce !== state.nonce || !served.inquiry.awaited.delete(state.hop)) return;
    this.context.sender.post(served.sequence.upstream, state);
  }
}

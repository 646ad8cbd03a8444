import type { SkeinError } from '../protocol/errors.ts';
import { encodeFrame } from '../protocol/frame-codec.ts';
import type { ActivationFormat, Frame } from '../protocol/frames.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { OpenRequest } from '../protocol/stage.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import { blame } from './peer-errors.ts';
import type { StageCounters } from './stage-counters.ts';

/** What a stage says to its neighbours and to requesters. */
export class StageSender {
  constructor(
    private readonly transport: FrameTransport,
    private readonly wireFormat: ActivationFormat,
    private readonly counters: StageCounters,
    /** Told when a peer that must be reached cannot be. */
    private readonly onUnreachable: (peer: PeerId, error: SkeinError) => void,
  ) {}

  /**
   * The frame is encoded before the first wait: whoever made it may use its buffers again after that.
   * @throws SkeinError what the transport throws, or `bad-argument` for what cannot be encoded.
   */
  async send(to: PeerId, frame: Frame, format: ActivationFormat = this.wireFormat): Promise<void> {
    const bytes = encodeFrame(frame, format);
    if (frame.type === 'activations') {
      this.counters.activationBytes += bytes.length;
      this.counters.activationRows += frame.sequences.reduce((sum, { rows }) => sum + rows, 0);
    }
    await this.transport.send(to, bytes);
  }

  /** Like `send`, and ends what relies on the peer when it fails. */
  async deliver(to: PeerId, frame: Frame, format: ActivationFormat = this.wireFormat): Promise<void> {
    try {
      await this.send(to, frame, format);
    } catch (thrown) {
      this.onUnreachable(to, blame(to, thrown));
    }
  }

  /** For news of an end: a peer that cannot be told finds out by the lost link, or by silence. */
  post(to: PeerId, frame: Frame): void {
    this.transport.send(to, encodeFrame(frame, this.wireFormat)).catch(() => undefined);
  }

  /** The request failed here. */
  postFailure({ requester, route }: OpenRequest, error: SkeinError): void {
    const { requestId, epoch } = route;
    this.post(requester, { type: 'failed', requestId, epoch, error: error.toShape() });
  }
}

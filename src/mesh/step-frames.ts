import { SkeinError } from '../protocol/errors.ts';
import { allFinite } from '../protocol/finite.ts';
import type { ActivationFormat, Frame } from '../protocol/frames.ts';
import { fitsHalf } from '../protocol/half.ts';
import type { PeerId } from '../protocol/ids.ts';
import { isTopOrder } from '../protocol/sampling.ts';
import type { StageOutput } from '../protocol/stage.ts';
import type { JournalRows } from './journal.ts';
import { packActivations, packSequences } from './pack-frames.ts';
import type { Addressed, FormattedRows } from './pack-frames.ts';
import { blame, peerError } from './peer-errors.ts';
import type { StageSequence } from './stage-sequence.ts';

/** An output that may travel, and the sequence it belongs to. */
export type StepResult =
  | { readonly kind: 'rows'; readonly sequence: StageSequence; readonly rows: JournalRows }
  | {
      readonly kind: 'token';
      readonly sequence: StageSequence;
      readonly output: Extract<StageOutput, { kind: 'token' }>;
    };

export interface OutgoingFrame {
  readonly to: PeerId;
  readonly frame: Frame;
  /** Of activations: that of their values, whatever this stage sends by default. */
  readonly format?: ActivationFormat;
}

/**
 * @param wireFormat of rows whose values all fit it; others travel as f32.
 * @returns why the output cannot travel, if so; that ends its request.
 */
export function checkOutput(
  sequence: StageSequence,
  output: StageOutput,
  self: PeerId,
  wireFormat: ActivationFormat,
): StepResult | SkeinError {
  if (output.kind === 'failed') return blame(self, output.error);
  const isEndOfRoute = sequence.downstream === null;
  if ((output.kind === 'token') !== isEndOfRoute) {
    return new SkeinError(
      'bad-argument',
      `The route of request ${sequence.requestId} does not end where the model ends. Ask for a new route.`,
    );
  }
  if (output.kind === 'token') {
    const isSound = Number.isFinite(output.logProbability) && isTopOrder(output.topLogProbabilities);
    return isSound ? { kind: 'token', sequence, output } : notFinite(self);
  }
  const { position, rows, values } = output;
  if (!allFinite(values)) return notFinite(self);
  const format = wireFormat === 'f16' && fitsHalf(values) ? 'f16' : 'f32';
  return { kind: 'rows', sequence, rows: { position, rows, values, format } };
}

/**
 * The frames of one step: activations to the next hop, but for those it has; a sampled token to the requester and, unless it
 * ends the answer, to the first hop, where the next step begins (the ring). One frame per peer, type and format, as far as the
 * limits allow.
 */
export function packStep(results: readonly StepResult[]): {
  activations: OutgoingFrame[];
  tokens: OutgoingFrame[];
} {
  const activations: FormattedRows[] = [];
  const sampled: Addressed<'sampled'>[] = [];
  const ring: Addressed<'tokens'>[] = [];
  for (const result of results) {
    const { requestId, epoch, downstream, request, firstHop } = result.sequence;
    if (result.kind === 'token') {
      const { position, tokenId, logProbability, topLogProbabilities } = result.output;
      sampled.push({
        to: request.requester,
        part: { requestId, epoch, position, tokenId, logProbability, topLogProbabilities },
      });
      if (result.sequence.endsWith(tokenId, position)) continue;
      ring.push({ to: firstHop, part: { requestId, epoch, position, tokenIds: Uint32Array.of(tokenId) } });
    } else if (downstream !== null) {
      const rows = from(result.sequence.nextStart, result.rows);
      if (rows === null) continue;
      const { format, ...part } = rows;
      activations.push({ to: downstream, format, part: { requestId, epoch, ...part } });
    }
  }
  return {
    activations: packActivations(activations),
    tokens: [
      ...packSequences(ring, (sequences) => ({ type: 'tokens', sequences })),
      ...packSequences(sampled, (sequences) => ({ type: 'sampled', sequences })),
    ],
  };
}

/** What of the rows is at `start` or behind it, in the format of all of them; null when nothing is. */
function from(start: number, all: JournalRows): JournalRows | null {
  const skipped = Math.max(0, start - all.position);
  if (skipped === 0) return all;
  if (skipped >= all.rows) return null;
  const hiddenSize = all.values.length / all.rows;
  return {
    ...all,
    position: start,
    rows: all.rows - skipped,
    values: all.values.subarray(skipped * hiddenSize),
  };
}

function notFinite(self: PeerId): SkeinError {
  return peerError('internal', self, 'computed values that are not finite. Ask for a new route.');
}

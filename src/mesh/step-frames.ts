import { SkeinError } from '../protocol/errors.ts';
import { allFinite } from '../protocol/finite.ts';
import type { Frame } from '../protocol/frames.ts';
import type { PeerId } from '../protocol/ids.ts';
import { isTopOrder } from '../protocol/sampling.ts';
import type { StageOutput } from '../protocol/stage.ts';
import { packActivations, packSequences } from './pack-frames.ts';
import type { Addressed } from './pack-frames.ts';
import { blame, peerError } from './peer-errors.ts';
import type { StageSequence } from './stage-sequence.ts';

/** An output that may travel, and the sequence it belongs to. */
export interface StepResult {
  readonly sequence: StageSequence;
  readonly output: Exclude<StageOutput, { kind: 'failed' }>;
}

export interface OutgoingFrame {
  readonly to: PeerId;
  readonly frame: Frame;
}

/** @returns why the output cannot travel, if so; that ends its request. */
export function checkOutput(
  sequence: StageSequence,
  output: StageOutput,
  self: PeerId,
): StepResult | SkeinError {
  if (output.kind === 'failed') return blame(self, output.error);
  const isEndOfRoute = sequence.downstream === null;
  if ((output.kind === 'token') !== isEndOfRoute) {
    return new SkeinError(
      'bad-argument',
      `The route of request ${sequence.requestId} does not end where the model ends. Ask for a new route.`,
    );
  }
  const isSound =
    output.kind === 'token'
      ? Number.isFinite(output.logProbability) && isTopOrder(output.topLogProbabilities)
      : allFinite(output.values);
  return isSound
    ? { sequence, output }
    : peerError('internal', self, 'computed values that are not finite. Ask for a new route.');
}

/**
 * The frames of one step: activations to the next hop, a sampled token to the requester and, unless it ends the answer,
 * to the first hop, where the next step begins (the ring). One frame per peer and type, as far as the limits allow.
 */
export function packStep(results: readonly StepResult[]): {
  activations: OutgoingFrame[];
  tokens: OutgoingFrame[];
} {
  const activations: Addressed<'activations'>[] = [];
  const sampled: Addressed<'sampled'>[] = [];
  const ring: Addressed<'tokens'>[] = [];
  for (const { sequence, output } of results) {
    const { requestId, epoch, downstream, request, firstHop } = sequence;
    const { position } = output;
    if (output.kind === 'token') {
      const { tokenId, logProbability, topLogProbabilities } = output;
      sampled.push({
        to: request.requester,
        part: { requestId, epoch, position, tokenId, logProbability, topLogProbabilities },
      });
      if (sequence.endsWith(tokenId, position)) continue;
      ring.push({ to: firstHop, part: { requestId, epoch, position, tokenIds: Uint32Array.of(tokenId) } });
    } else if (downstream !== null) {
      const { rows, values } = output;
      activations.push({ to: downstream, part: { requestId, epoch, position, rows, values } });
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

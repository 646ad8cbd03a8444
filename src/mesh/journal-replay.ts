import { peerError } from './peer-errors.ts';
import type { ServedSequence } from './served-sequence.ts';
import type { StageContext } from './stage-context.ts';

/** Rows of one frame: no larger than what a step sends, so that they are computed while the next are on their way. */
const REPLAY_FRAME_ROWS = 64;

/**
 * Sends the next hop what it starts with and this one does not compute again. Never more than one frame is under way besides
 * what the transport takes in.
 * @param isWanted asked after every wait.
 * @throws SkeinError what the transport throws.
 */
export async function replay(
  { journals, sender, counters, identity }: StageContext,
  served: ServedSequence,
  starts: readonly number[],
  isWanted: () => boolean,
): Promise<void> {
  const { requestId, epoch, downstream, hopIndex } = served.sequence;
  const start = starts[hopIndex] ?? 0;
  let position = starts[hopIndex + 1] ?? start;
  if (downstream === null) return;
  while (position < start && isWanted()) {
    const piece = journals.find(requestId)?.read(position, start, REPLAY_FRAME_ROWS);
    if (!piece) throw peerError('internal', identity.self, `lost what it sent from position ${position} on.`);
    const { rows, values, format } = piece;
    const sequences = [{ requestId, epoch, position, rows, values }];
    const hiddenSize = values.length / rows;
    served.sentUpTo = position;
    await sender.send(downstream, { type: 'activations', hiddenSize, sequences }, format);
    counters.replayedRows += rows;
    served.touch();
    position += rows;
  }
  served.sentUpTo = start;
}

import type { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { StageExecutor } from '../protocol/stage.ts';
import type { Clock } from './clock.ts';
import type { JournalShelf } from './journal-shelf.ts';
import type { StageIdentity } from './stage-admission.ts';
import type { StageCounters } from './stage-counters.ts';
import type { StageSender } from './stage-sender.ts';

/** What the parts of a served stage share. */
export interface StageContext {
  readonly identity: StageIdentity;
  readonly executor: StageExecutor;
  readonly sender: StageSender;
  readonly journals: JournalShelf;
  readonly counters: StageCounters;
  readonly clock: Clock;
  /** A frame that nobody honest sends: it is counted, and the transport hears of it. */
  readonly reject: (from: PeerId, reason: SkeinError) => void;
}

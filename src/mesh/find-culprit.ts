import type { PeerId } from '../protocol/ids.ts';
import { DIAL_TIMEOUT_MS } from '../protocol/limits.ts';

/** What a hop said of a request, as in the `state` frame. */
export interface HopState {
  /** Position after the last row that it was given. */
  readonly receivedUpTo: number;
  /** Position after the last row whose output it has handed on; at the last hop, of the row its last token came from. */
  readonly sentUpTo: number;
  /** Forward passes of the stage, for any request. */
  readonly steps: number;
  /** The median of its recent passes; 0 before the first. */
  readonly typicalStepMs: number;
}

/** What is known of a hop while its route is silent. */
export interface HopWatch {
  readonly peer: PeerId;
  /** Its answer to the latest question; null while there is none. */
  readonly state: HopState | null;
  /** For how long it has answered no question, though it was asked. */
  readonly unansweredMs: number;
  /** For how long it may. */
  readonly answerMs: number;
  /** Whether it was heard of on this route: until then the hop before it may be dialling it. */
  readonly isReached: boolean;
  /** For how long it computed and sent nothing, by its own answers. */
  readonly stalledMs: number;
}

/** What the first hop must have been given: the prompt by the requester, and then every token by the last hop. */
export interface RowsFed {
  /** Position after the last row. */
  readonly upTo: number;
  /** Null for the requester. */
  readonly by: PeerId | null;
}

/** Where a silent route hangs, and by whose fault. */
export type Finding =
  /** It answers nothing, though the hops before it do; `behind` is the one that asked it, null where that is the requester. */
  | { readonly kind: 'silent'; readonly peer: PeerId; readonly behind: PeerId | null; readonly forMs: number }
  /** It has rows to compute and computes nothing. */
  | { readonly kind: 'stalled'; readonly peer: PeerId; readonly forMs: number }
  /** `sender` says that it sent what `peer` says it never got: one of them lies. The sender is null where it is the requester. */
  | { readonly kind: 'contradiction'; readonly peer: PeerId; readonly sender: PeerId | null }
  /** The last hop says that it sent what did not come here. */
  | { readonly kind: 'withheld'; readonly peer: PeerId };

/** Nobody hangs: somebody computes, or may yet answer. `peer` is for whom all wait, where that is known. */
export type Verdict = Finding | { readonly kind: 'wait'; readonly peer: PeerId | null };

/** Shorter than this nobody is called hung: an event loop may be busy, and so may a link. */
export const LEAST_STALL_MS = 3_000;
/** Longer than this nobody is waited for that computes nothing, however slow it says it is. */
export const MOST_STALL_MS = 15_000;
/** A stage that ran no pass yet: its first may be slow. */
const FIRST_PASS_MS = 10_000;
/** A hop says by itself that it cannot reach the next one; this is a little later. */
const DIALLING_MS = DIAL_TIMEOUT_MS + 2_000;
/** Passes differ in their rows: a chunk of a prompt takes several times as long as a token. */
const STEPS_OF_PATIENCE = 5;

/**
 * Looks down the route for the first hop where things hang: all before it did their part, by what their neighbours say too.
 * @param hops in order of the route; at least one.
 */
export function findCulprit(hops: readonly HopWatch[], fed: RowsFed): Verdict {
  let before = { sentUpTo: fed.upTo, sender: fed.by };
  for (const [index, { peer, state, ...watch }] of hops.entries()) {
    if (state === null) {
      const { unansweredMs, answerMs } = watch;
      if (unansweredMs < answerMs) return { kind: 'wait', peer: null };
      return { kind: 'silent', peer, behind: hops[index - 1]?.peer ?? null, forMs: unansweredMs };
    }
    const { receivedUpTo, sentUpTo } = state;
    if (receivedUpTo < before.sentUpTo) return { kind: 'contradiction', peer, sender: before.sender };
    if (receivedUpTo > sentUpTo) {
      const { stalledMs } = watch;
      const mayDial = hops[index + 1]?.isReached === false;
      const isStalled = stalledMs >= (mayDial ? DIALLING_MS : patienceMs(state));
      return isStalled ? { kind: 'stalled', peer, forMs: stalledMs } : { kind: 'wait', peer };
    }
    before = { sentUpTo, sender: peer };
  }
  return before.sender === null ? { kind: 'wait', peer: null } : { kind: 'withheld', peer: before.sender };
}

/** How long a hop may compute nothing while it has something to compute. */
export function patienceMs({ typicalStepMs }: HopState): number {
  const wantedMs = typicalStepMs > 0 ? STEPS_OF_PATIENCE * typicalStepMs : FIRST_PASS_MS;
  return Math.min(MOST_STALL_MS, Math.max(LEAST_STALL_MS, wantedMs));
}

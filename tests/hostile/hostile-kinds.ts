import type { PeerId, RequestId } from '../../src/protocol/ids.ts';

/** What a hostile process does with the work that it takes. */
export const HOSTILE_KINDS = {
  silent: 'takes work, and says nothing ever after',
  idle: 'answers questions, and never sends what it says that it sent',
  'busy-for-ever': 'says that it computes on and on',
  garbage: 'sends frames that are cut short',
  'wrong-size': 'sends rows of a width of its own',
  'not-a-number': 'sends values that are none',
  flood: 'floods everybody with work for requests that nobody knows, and with garbage',
} as const;

export type HostileKind = keyof typeof HOSTILE_KINDS;

export function isHostileKind(text: string): text is HostileKind {
  return Object.hasOwn(HOSTILE_KINDS, text);
}

/** Hostile process → harness. */
export type HostileEvent =
  | { readonly type: 'peer'; readonly peer: PeerId }
  /** It was given a request. */
  | { readonly type: 'took'; readonly requestId: RequestId }
  /** An honest peer takes nothing from it any more. */
  | { readonly type: 'cut-off' };

import type { ContributorState } from '../../src/contributor/contributor-state.ts';
import type { PeerId, RequestId } from '../../src/protocol/ids.ts';
import type { WireTrouble } from './unreliable-pipe.ts';

/** Harness → peer process. */
export type PeerCommand =
  /** `trouble` null ends it. */
  | { readonly type: 'wire'; readonly trouble: WireTrouble | null; readonly seed: number }
  | { readonly type: 'lose-device' };

/** Peer process → harness. */
export type PeerEvent =
  | {
      readonly type: 'state';
      readonly phase: ContributorState['phase'];
      readonly peer: PeerId | null;
      readonly error: string | null;
    }
  /** Rows of a prompt, or more than one row at once, came for a request. */
  | {
      readonly type: 'rows';
      readonly requestId: RequestId;
      readonly epoch: number;
      /** After the last of them. */
      readonly upTo: number;
    }
  | { readonly type: 'harmed'; readonly kind: WireTrouble['kind'] };

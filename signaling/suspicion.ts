import { PEER_ID_PATTERN } from '../src/protocol/ids.ts';
import type { PeerId, RequestId } from '../src/protocol/ids.ts';
import type { ClientMessage } from '../src/protocol/signaling.ts';
import { Accusations } from './accusations.ts';
import type { Outbox } from './outbox.ts';
import type { Peers } from './peers.ts';
import { RollCalls } from './roll-calls.ts';

export interface SuspicionDeps {
  readonly peers: Peers;
  readonly outbox: Outbox;
  /** Whether the peer is, or was a moment ago, a hop of this requester's request. */
  readonly isHopOf: (peer: PeerId, requester: PeerId, requestId: RequestId) => boolean;
  /** Others are to be given no routes over the peer. */
  readonly onSuspect: (peer: PeerId, words: string) => void;
  readonly onCleared: (peer: PeerId) => void;
  /** The peer's socket is open, and nobody answers there. */
  readonly onDead: (peer: PeerId) => void;
  readonly newNonce: () => number;
}

type Suspect = Extract<ClientMessage, { type: 'suspect' }>;

/** What requesters say of hops that failed them, and what follows from it: for themselves at once, for others after a check. */
export class Suspicion {
  readonly #deps: SuspicionDeps;
  readonly #accusations = new Accusations();
  readonly #rollCalls: RollCalls;
  /** Of each connected peer, who it counts as when it accuses. */
  readonly #accusers = new Map<PeerId, string>();

  constructor(deps: SuspicionDeps) {
    this.#deps = deps;
    this.#rollCalls = new RollCalls(deps.newNonce);
  }

  /** @param accuser the same for all peers that may be one and the same person. */
  connected(peer: PeerId, accuser: string): void {
    this.#accusers.set(peer, accuser);
  }

  disconnected(peer: PeerId): void {
    this.#accusers.delete(peer);
    this.#rollCalls.forget(peer);
    this.#accusations.forgetRequester(peer);
  }

  /** Of somebody who has no part in the request nothing is believed. */
  suspect(requester: PeerId, { requestId, peer, error }: Suspect, nowMs: number): void {
    const { outbox, isHopOf, onSuspect } = this.#deps;
    if (requestId === undefined) {
      this.#cutOff(requester, peer, error.message, nowMs);
      return;
    }
    if (peer === requester || !isHopOf(peer, requester, requestId)) return;
    if (this.#accusations.avoid(requester, peer, nowMs)) {
      outbox.log(
        `${requester} suspects ${peer}, a hop of request ${requestId}: ${error.code}, ${error.message}`,
      );
    }
    this.#callRoll(peer, nowMs);
    const accuser = this.#accusers.get(requester) ?? requester;
    const other = this.#otherOf(requestId, peer, error, requester);
    const verdict = this.#accusations.accuse(peer, { accuser, code: error.code, other }, nowMs);
    if (verdict.kind === 'nothing') return;
    outbox.log(`${peer} is a suspect: ${verdict.words} It is given no work for a while`);
    onSuspect(peer, verdict.words);
  }

  /** @param nonce of the answer; null for another message that only a living peer sends. */
  present(peer: PeerId, nonce: number | null): void {
    this.#rollCalls.answered(peer, nonce);
  }

  wordsOf(peer: PeerId): string | null {
    return this.#accusations.wordsOf(peer);
  }

  /** Whom routes of this requester are to avoid, where there are others. */
  avoidedBy(requester: PeerId, nowMs: number): readonly PeerId[] {
    return this.#accusations.avoidedBy(requester, nowMs);
  }

  /** To be called as time passes. */
  advance(nowMs: number): void {
    const { outbox, onCleared, onDead } = this.#deps;
    for (const peer of this.#rollCalls.takeOverdue(nowMs)) {
      outbox.log(`${peer} was suspected and gave no sign of life: it counts as gone`);
      onDead(peer);
    }
    for (const peer of this.#accusations.expire(nowMs)) {
      outbox.log(`${peer} is no suspect any more`);
      onCleared(peer);
    }
  }

  /** Whoever cut a peer off knows best what came over their link, and nobody else can tell: it is kept from that one only. */
  #cutOff(by: PeerId, peer: PeerId, words: string, nowMs: number): void {
    if (peer === by || !this.#deps.peers.isGreeted(peer)) return;
    if (this.#accusations.avoid(by, peer, nowMs)) this.#deps.outbox.log(`${by} cut off ${peer}: ${words}`);
  }

  /** The other hop that it may have been as well. */
  #otherOf(requestId: RequestId, peer: PeerId, error: Suspect['error'], requester: PeerId): PeerId | null {
    const named = error.data?.['otherPeer'];
    if (typeof named !== 'string' || !PEER_ID_PATTERN.test(named) || named === peer) return null;
    const other = named as PeerId;
    return this.#deps.isHopOf(other, requester, requestId) ? other : null;
  }

  /** Only of who has a slice to answer with: who loads one may be too busy, and is asked nothing by anybody. */
  #callRoll(peer: PeerId, nowMs: number): void {
    const { peers, outbox } = this.#deps;
    const kind = peers.lender(peer)?.kind;
    if (kind !== 'serving' && kind !== 'draining') return;
    const nonce = this.#rollCalls.begin(peer, nowMs);
    if (nonce !== null) outbox.send(peer, { type: 'roll-call', nonce });
  }
}

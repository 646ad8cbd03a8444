import { isLaterKey } from '../protocol/epoch-keys.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { FrameOf, StageOffer } from '../protocol/frames.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { Hop } from '../protocol/route.ts';
import { agreesOnStarts, BLOCK_TOKENS } from '../protocol/stage.ts';
import type { OpenRequest } from '../protocol/stage.ts';
import { cacheScope, privateScope } from './cache-scope.ts';
import { replay } from './journal-replay.ts';
import type { OpenSequences } from './open-sequences.ts';
import { blame, peerError } from './peer-errors.ts';
import { ServedSequence } from './served-sequence.ts';
import { admit } from './stage-admission.ts';
import type { StageContext } from './stage-context.ts';
import type { StageFeeding } from './stage-feeding.ts';
import { StageSequence } from './stage-sequence.ts';

/** What a stage has of a request, and under what. */
interface Claim {
  readonly offer: StageOffer;
  readonly scope: string;
}

/** Takes requests in, from the first frame to where rows may be computed: `open`, the offers, `begin`, and what is sent again. */
export class StageOpening {
  constructor(
    private readonly context: StageContext,
    private readonly sequences: OpenSequences,
    private readonly feeding: StageFeeding,
  ) {}

  open(from: PeerId, { request, offers: upstreamOffers }: FrameOf<'open'>): void {
    const { counters, identity, sender, clock } = this.context;
    const { requestId, epoch } = request.route;
    const older = this.sequences.get(requestId);
    if (older && older.sequence.epoch >= epoch) {
      counters.dropped += 1;
      return;
    }
    const admission = admit(request, from, identity, upstreamOffers.length);
    if (admission.kind === 'stranger') {
      this.#refuseStranger(from, request);
      return;
    }
    if (older && !isFromTheSame(older.sequence.request, request)) {
      this.context.reject(
        from,
        peerError('bad-frame', from, `opened request ${requestId} of somebody else.`),
      );
      return;
    }
    if (admission.kind === 'refused') {
      // One that says where this stage was a moment ago is nobody's fault.
      if (admission.error.code === 'bad-frame') this.context.reject(from, admission.error);
      else counters.rejected += 1;
      sender.postFailure(request, admission.error);
      return;
    }
    const { hopIndex } = admission;
    let claim: Claim;
    try {
      claim = this.#claim(request, hopIndex, older);
    } catch (thrown) {
      sender.postFailure(request, blame(identity.self, thrown));
      return;
    }
    const sequence = new StageSequence(request, hopIndex, claim.offer);
    const served = new ServedSequence({
      sequence,
      scope: claim.scope,
      clock,
      onIdle: (error: SkeinError) => this.sequences.fail(served, error, 'ended'),
    });
    this.sequences.add(served);
    if (older) this.#letGo(older, sequence);
    const offers = [...upstreamOffers, claim.offer];
    this.#answer(sequence, offers);
    void this.#lead(served, offers);
  }

  begin(from: PeerId, { requestId, epoch, starts }: FrameOf<'begin'>): void {
    const served = this.sequences.findRunning({ requestId, epoch });
    if (!served) return;
    if (from !== served.sequence.upstream) {
      this.feeding.refuse(from, served.sequence);
      return;
    }
    served.touch();
    try {
      if (served.sequence.begin(starts)) served.begin(starts);
      else this.context.counters.dropped += 1;
    } catch (thrown) {
      // The hop before only passes on what the requester made of offers that came by many: it is not taken for the liar.
      this.context.counters.rejected += 1;
      this.sequences.fail(served, SkeinError.from(thrown), 'suspended');
    }
  }

  /**
   * Opens it in the executor. What is here of an earlier epoch is kept where this one finds it: in the scope of both where that
   * is the same; else in one of its own, unless the requester doubts it.
   */
  #claim(request: OpenRequest, hopIndex: number, older: ServedSequence | null): Claim {
    const { executor, journals } = this.context;
    const { requestId } = request.route;
    const ordinary = cacheScope(request, hopIndex);
    let scope = ordinary;
    if (older) {
      const isSameWay = older.scope === ordinary;
      if (!isSameWay && request.keepsCache) scope = privateScope(requestId, older.scope, ordinary);
      const isKept = isSameWay || request.keepsCache;
      this.sequences.remove(older);
      executor.close(requestId, isKept ? request.blockHashes : [], isKept ? scope : undefined);
      if (!isKept) journals.drop(requestId);
    }
    try {
      const { cachedTokens } = this.#openInExecutor(request, scope, scope !== ordinary);
      return { offer: this.#offer(request, hopIndex, cachedTokens), scope };
    } catch (thrown) {
      journals.drop(requestId);
      throw thrown;
    }
  }

  /** Whoever waits for a later epoch makes room for one that is here. */
  #openInExecutor(
    request: OpenRequest,
    scope: string,
    isPrivate: boolean,
  ): { readonly cachedTokens: number } {
    for (;;) {
      try {
        return this.context.executor.open(request, scope, isPrivate);
      } catch (thrown) {
        if (blame(this.context.identity.self, thrown).code !== 'busy') throw thrown;
        if (!this.sequences.makeRoom(request.requester)) throw thrown;
      }
    }
  }

  /** A journal that ends before what is cached does is worth more than the few blocks between. */
  #offer(request: OpenRequest, hopIndex: number, cachedTokens: number): StageOffer {
    const { journals } = this.context;
    const { requestId, hops } = request.route;
    const journal = journals.find(requestId);
    const reached = Math.min(cachedTokens, wholeBlocks(journal?.end ?? 0));
    if (journal === null || hopIndex === hops.length - 1 || journal.from >= reached) {
      journals.drop(requestId);
      return { cachedTokens, journalFrom: cachedTokens };
    }
    journals.promise(requestId, true);
    return { cachedTokens: reached, journalFrom: journal.from };
  }

  /**
   * A next hop of the earlier epoch that is not the next any more has no part in it: this one alone knows that. Nor have those
   * behind it, unless the new route has some of them.
   */
  #letGo(older: ServedSequence, { downstream, request }: StageSequence): void {
    const { requestId, epoch, hopIndex, downstream: oldDownstream, request: oldRequest } = older.sequence;
    if (oldDownstream === null || oldDownstream === downstream || oldDownstream === older.lostPeer) return;
    const behind = oldRequest.route.hops.slice(hopIndex + 2);
    const isMoved = behind.some((hop) => request.route.hops.some((other) => isSameHop(hop, other)));
    const { blockHashes } = request;
    this.context.sender.post(oldDownstream, { type: 'close', requestId, epoch, blockHashes, isMoved });
  }

  /** The requester is told what the hops have where that is final: at the last, or at the first when it is nothing. */
  #answer(sequence: StageSequence, offers: readonly StageOffer[]): void {
    const { request, requestId, epoch, offer, downstream, isFirst } = sequence;
    const isFinal = downstream === null || (isFirst && epoch === 0 && offer.cachedTokens === 0);
    if (!agreesOnStarts(request) || !isFinal) return;
    void this.context.sender.deliver(request.requester, { type: 'opened', requestId, epoch, offers });
  }

  /** Rows are computed once the next hop can be reached, knows where it starts, and has what it lacks. */
  async #lead(served: ServedSequence, offers: readonly StageOffer[]): Promise<void> {
    const { request, requestId, epoch, downstream } = served.sequence;
    const { sender, journals } = this.context;
    try {
      if (downstream !== null) await sender.send(downstream, { type: 'open', request, offers });
      const starts = await served.begun;
      if (!this.sequences.isRunning(served)) return;
      if (downstream !== null) {
        if (agreesOnStarts(request))
          await sender.send(downstream, { type: 'begin', requestId, epoch, starts });
        await replay(this.context, served, starts, () => this.sequences.isRunning(served));
      }
      if (!this.sequences.isRunning(served)) return;
      journals.promise(requestId, false);
      this.feeding.release(served);
    } catch (thrown) {
      this.sequences.fail(served, blame(downstream ?? this.context.identity.self, thrown), 'suspended');
    }
  }

  /** A peer with several stages in a route gets each frame once, for all of them. */
  #refuseStranger(from: PeerId, { requester, route }: OpenRequest): void {
    const { counters, identity, reject } = this.context;
    const { hops, requestId } = route;
    const isNeighbour = hops.some(
      ({ peer }, index) => peer === identity.self && (hops[index - 1]?.peer ?? requester) === from,
    );
    if (isNeighbour) counters.rejected += 1;
    else
      reject(
        from,
        peerError('bad-frame', from, `opened request ${requestId}, in which it is not before us.`),
      );
  }
}

function isSameHop(one: Hop, other: Hop): boolean {
  return one.peer === other.peer && one.layerStart === other.layerStart && one.layerEnd === other.layerEnd;
}

function isFromTheSame(older: OpenRequest, newer: OpenRequest): boolean {
  const keyOf = ({ route, epochKey }: OpenRequest) => ({ epoch: route.epoch, key: epochKey });
  return older.requester === newer.requester && isLaterKey(keyOf(older), keyOf(newer));
}

function wholeBlocks(tokens: number): number {
  return tokens - (tokens % BLOCK_TOKENS);
}

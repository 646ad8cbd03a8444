import * as v from 'valibot';
import { SkeinError } from '../protocol/errors.ts';
import { newRequestId, PEER_ID_PATTERN } from '../protocol/ids.ts';
import type { PeerId } from '../protocol/ids.ts';
import {
  BROKEN_LINK_STRIKES,
  MAX_OUTGOING_LINKS,
  MAX_PROBED_PEERS,
  MAX_STRIKES,
  PROBE_TIMEOUT_MS,
} from '../protocol/limits.ts';
import type { ClientMessage, LinkReport, ServerMessage } from '../protocol/signaling.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import { Conduct } from './conduct.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { linkSignalSchema } from './link-signal.ts';
import type { LinkSignal } from './link-signal.ts';
import { LinkTable } from './link-table.ts';
import { Listeners } from './listeners.ts';
import { simplePeerConnect } from './peer-connection.ts';
import type { Connect, IceServer, IceSettings, WebRtc } from './peer-connection.ts';
import { blame, peerError, peerLost } from './peer-errors.ts';
import { PeerLink } from './peer-link.ts';
import { waitFor } from './wait-for.ts';

/** What the mesh needs of the server: it relays signals and says when there is nobody to relay to. */
export interface SignalRelay {
  send(message: Extract<ClientMessage, { type: 'signal' }>): void;
  on<Type extends 'signal' | 'error' | 'mesh'>(
    type: Type,
    listener: (message: Extract<ServerMessage, { type: Type }>) => void,
  ): () => void;
}

export interface PeerMeshOptions {
  readonly self: PeerId;
  readonly signaling: SignalRelay;
  readonly iceServers: readonly IceServer[];
  /** See IceSettings. Default false. */
  readonly isRelayOnly?: boolean;
  /** For places without WebRTC of their own: `@roamhq/wrtc` in Node. */
  readonly wrtc?: WebRtc;
  readonly clock?: Clock;
  /** Makes connections; simple-peer unless a test brings its own. */
  readonly connect?: Connect;
  /** Puts something between this peer and its connections, such as a wire that harms messages. */
  readonly wrapConnect?: (connect: Connect) => Connect;
  /** Finds out more about why a peer cannot be reached: browsers keep that to themselves. */
  readonly explainDialError?: (error: SkeinError) => Promise<SkeinError>;
}

/** Frames between this peer and every other, each pair over one WebRTC data channel that is dialled when needed. */
export class PeerMesh implements FrameTransport {
  readonly self: PeerId;
  readonly #signaling: SignalRelay;
  readonly #connect: Connect;
  readonly #explain: (error: SkeinError) => Promise<SkeinError>;
  readonly #conduct: Conduct;
  readonly #clock: Clock;
  readonly #links = new LinkTable();
  readonly #frames = new Listeners<[from: PeerId, frame: Uint8Array<ArrayBuffer>]>();
  readonly #lost = new Listeners<[peer: PeerId, reason: SkeinError]>();
  readonly #misbehaved = new Listeners<[peer: PeerId, error: SkeinError]>();
  readonly #stopListening: (() => void)[];
  #ice: IceSettings;
  /** Peers that lend their devices. */
  #members: ReadonlySet<PeerId> = new Set();
  #isDisposed = false;
  #rejectedSignals = 0;

  constructor(options: PeerMeshOptions) {
    const { self, signaling, iceServers, isRelayOnly = false, wrtc, clock = systemClock } = options;
    this.self = self;
    this.#signaling = signaling;
    this.#clock = clock;
    this.#ice = { iceServers, isRelayOnly };
    const connect = options.connect ?? simplePeerConnect(() => this.#ice, wrtc);
    this.#connect = options.wrapConnect?.(connect) ?? connect;
    this.#explain = options.explainDialError ?? ((error) => Promise.resolve(error));
    this.#conduct = new Conduct(clock);
    this.#stopListening = [
      signaling.on('signal', ({ from, data }) => this.#receive(from, data)),
      signaling.on('error', ({ error }) => this.#hearError(SkeinError.fromShape(error))),
      signaling.on('mesh', ({ members }) => this.#hearMembers(new Set(members.map(({ peer }) => peer)))),
    ];
  }

  /** Peers with a link that is open or being dialled. */
  get linkedPeers(): PeerId[] {
    return [...this.#links.peers()];
  }

  /** Signals that no peer of ours would send, since the start. */
  get rejectedSignals(): number {
    return this.#rejectedSignals;
  }

  send(to: PeerId, frame: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.#isDisposed) return Promise.reject(disposedError());
    if (to === this.self) return this.#loopBack(frame);
    const ban = this.#conduct.banOf(to);
    if (ban) return Promise.reject(ban);
    const link = this.#linkTo(to);
    if (link) return link.send(frame);
    return Promise.reject(
      peerError('busy', to, `cannot be dialled: this peer has ${MAX_OUTGOING_LINKS} links already.`),
    );
  }

  /** For dials from now on; links that are open stay as they are. */
  setIceServers(iceServers: readonly IceServer[]): void {
    this.#ice = { ...this.#ice, iceServers };
  }

  /** The server is back after it was away: what was said meanwhile to get links did not arrive. */
  dialAgain(): void {
    for (const link of this.#links.links()) link.dialAgain();
  }

  /** What was measured of the links lately, those last used first. */
  linkStats(): LinkReport[] {
    return this.#links.stats();
  }

  /**
   * Dials peers where need be, and measures the way to them: `linkStats` then has those that answered.
   * @param peers the first MAX_PROBED_PEERS are. @returns when all have answered or cannot be reached, PROBE_TIMEOUT_MS at most.
   */
  async probe(peers: readonly PeerId[]): Promise<void> {
    if (this.#isDisposed) return;
    const others = [...new Set(peers)].filter((peer) => peer !== this.self).slice(0, MAX_PROBED_PEERS);
    const options = { clock: this.#clock, timeoutMs: PROBE_TIMEOUT_MS, what: 'A peer did not answer' };
    await Promise.allSettled(
      others.map((peer) =>
        waitFor<undefined>(options, (resolve, reject) => {
          const probed = this.#linkTo(peer)?.probe() ?? Promise.resolve();
          probed.then(
            () => resolve(undefined),
            (thrown: unknown) => reject(SkeinError.from(thrown)),
          );
        }),
      ),
    );
  }

  onFrame(listener: (from: PeerId, frame: Uint8Array<ArrayBuffer>) => unknown): () => void {
    return this.#frames.add(listener);
  }

  onPeerLost(listener: (peer: PeerId, reason: SkeinError) => void): () => void {
    return this.#lost.add(listener);
  }

  /** A peer was cut off for what it sent. @returns a function that stops listening. */
  onMisbehaved(listener: (peer: PeerId, error: SkeinError) => void): () => void {
    return this.#misbehaved.add(listener);
  }

  reject(from: PeerId, reason: SkeinError): void {
    if (from === this.self || this.#isDisposed) return;
    const ban = this.#conduct.strike(from, reason);
    if (ban) this.#cutOff(from, ban);
  }

  /** Closes every link, and says so to whoever waits for one. Idempotent. */
  dispose(): void {
    this.#isDisposed = true;
    for (const stop of this.#stopListening) stop();
    this.#frames.clear();
    for (const peer of this.#links.peers()) this.#lost.tell(peer, blame(peer, disposedError()));
    this.#lost.clear();
    this.#misbehaved.clear();
    for (const link of this.#links.links()) link.end(disposedError());
  }

  /** @returns null where one more would be too many. */
  #linkTo(peer: PeerId): PeerLink | null {
    const link = this.#links.get(peer);
    if (link) return link;
    return this.#links.hasRoom(false) ? this.#add(peer, false) : null;
  }

  #loopBack(frame: Uint8Array<ArrayBuffer>): Promise<void> {
    const copy = frame.slice();
    queueMicrotask(() => this.#frames.tell(this.self, copy));
    return Promise.resolve();
  }

  #receive(from: PeerId, data: unknown): void {
    const parsed = v.safeParse(linkSignalSchema, data);
    if (!parsed.success || from === this.self) {
      this.#rejectedSignals += 1;
      return;
    }
    const signal = parsed.output;
    if (this.#conduct.banOf(from)) {
      if (signal.kind !== 'refuse') this.#sendSignal(from, { kind: 'refuse', attempt: signal.attempt });
      return;
    }
    const existing = this.#links.get(from);
    const isWish = asksForLink(signal, from < this.self);
    if (isWish && existing?.attempt !== signal.attempt && !this.#conduct.dial(from)) {
      this.reject(from, peerError('bad-message', from, 'wants one link after the other.'));
      return;
    }
    if (existing) {
      existing.receive(signal);
      return;
    }
    if (!isWish) return;
    if (!this.#links.hasRoom(true)) this.#sendSignal(from, { kind: 'refuse', attempt: signal.attempt });
    else this.#add(from, true).receive(signal);
  }

  /** The server names a peer that it could not relay to. */
  #hearError(error: SkeinError): void {
    const { peer } = error.data;
    if (error.code !== 'peer-lost' || typeof peer !== 'string' || !PEER_ID_PATTERN.test(peer)) return;
    this.#links.get(peer as PeerId)?.giveUpDialling(peerLost(peer as PeerId, error));
  }

  /** A member that is none any more may have crashed, or finishes what it has: it is asked. */
  #hearMembers(members: ReadonlySet<PeerId>): void {
    for (const peer of this.#members) if (!members.has(peer)) this.#links.get(peer)?.suspect();
    this.#members = members;
  }

  #add(remote: PeerId, isIncoming: boolean): PeerLink {
    const link: PeerLink = new PeerLink({
      self: this.self,
      remote,
      connect: this.#connect,
      clock: this.#clock,
      newAttempt: newRequestId,
      sendSignal: (signal) => this.#sendSignal(remote, signal),
      onFrame: (frame) => this.#frames.tellAndWait(remote, frame),
      onWaiting: () => this.#links.boundWaiting(this.#members),
      onFault: (fault, error) => {
        const ban = this.#conduct.strike(
          remote,
          error,
          fault === 'flood' ? MAX_STRIKES : BROKEN_LINK_STRIKES,
        );
        if (ban) this.#cutOff(remote, ban);
      },
      onLost: (reason) => this.#lost.tell(remote, reason),
      onIdle: () => this.#links.remove(remote, link),
      explain: this.#explain,
    });
    this.#links.set(remote, link, isIncoming);
    return link;
  }

  #cutOff(peer: PeerId, ban: SkeinError): void {
    this.#links.get(peer)?.end(ban);
    this.#misbehaved.tell(peer, ban);
  }

  #sendSignal(to: PeerId, signal: LinkSignal): void {
    this.#signaling.send({ type: 'signal', to, data: signal });
  }
}

/** @param fromOfferer whether the sender is the one of the two who makes offers. */
function asksForLink(signal: LinkSignal, fromOfferer: boolean): boolean {
  return fromOfferer ? signal.kind === 'rtc' && signal.signal.type === 'offer' : signal.kind === 'ask';
}

function disposedError(): SkeinError {
  return new SkeinError('aborted', 'This peer left the mesh.');
}

import type { PeerId } from '../protocol/ids.ts';
import {
  LINK_IDLE_MS,
  MAX_INCOMING_LINKS,
  MAX_OUTGOING_LINKS,
  MAX_REPORTED_LINKS,
  MAX_WAITING_BYTES,
} from '../protocol/limits.ts';
import type { LinkReport } from '../protocol/signaling.ts';
import { peerError } from './peer-errors.ts';
import type { PeerLink } from './peer-link.ts';

interface LinkEntry {
  readonly link: PeerLink;
  readonly isIncoming: boolean;
}

/** The links of one peer, one to each other, and the bounds that they keep together. */
export class LinkTable {
  readonly #entries = new Map<PeerId, LinkEntry>();

  /** As they are while they are gone through. */
  peers(): Iterable<PeerId> {
    return this.#entries.keys();
  }

  /** As they are now. */
  links(): PeerLink[] {
    return [...this.#entries.values()].map(({ link }) => link);
  }

  get(peer: PeerId): PeerLink | undefined {
    return this.#entries.get(peer)?.link;
  }

  set(peer: PeerId, link: PeerLink, isIncoming: boolean): void {
    this.#entries.set(peer, { link, isIncoming });
  }

  /** Unless another one has taken its place. */
  remove(peer: PeerId, link: PeerLink): void {
    if (this.get(peer) === link) this.#entries.delete(peer);
  }

  /** What was measured lately, those last used first. */
  stats(): LinkReport[] {
    return [...this.#entries]
      .sort(([, a], [, b]) => a.link.idleMs - b.link.idleMs)
      .flatMap(([peer, { link }]) => (link.measurement ? [{ peer, ...link.measurement }] : []))
      .slice(0, MAX_REPORTED_LINKS);
  }

  /** Whether one more link may be, and room made for it at the cost of the one that was idle for longest, if long enough. */
  hasRoom(isIncoming: boolean): boolean {
    const alike = [...this.#entries].filter(([, entry]) => entry.isIncoming === isIncoming);
    if (alike.length < (isIncoming ? MAX_INCOMING_LINKS : MAX_OUTGOING_LINKS)) return true;
    const [idlest] = alike.sort(([, a], [, b]) => b.link.idleMs - a.link.idleMs);
    if (!idlest || idlest[1].link.idleMs < LINK_IDLE_MS) return false;
    const [peer, { link }] = idlest;
    link.end(peerError('peer-lost', peer, 'was not heard of for long and had to make room.'));
    return true;
  }

  /**
   * Each peer is held to its own bound; where too many use theirs up at once, whoever has most here goes.
   * @param members who lends a device.
   */
  boundWaiting(members: ReadonlySet<PeerId>): void {
    const waiting = [...this.#entries]
      .map(([peer, { link, isIncoming }]) => ({ peer, link, isIncoming, bytes: link.waitingBytes }))
      .filter(({ bytes }) => bytes > 0);
    const totalBytes = waiting.reduce((sum, { bytes }) => sum + bytes, 0);
    if (totalBytes <= MAX_WAITING_BYTES) return;
    // Who dialled this peer and lends nothing may be one of many that somebody made up.
    const strangers = waiting.filter(({ peer, isIncoming }) => isIncoming && !members.has(peer));
    const [most] = (strangers.length > 0 ? strangers : waiting).sort((a, b) => b.bytes - a.bytes);
    if (!most) return;
    const { peer, link, bytes } = most;
    const what = `had to go: of ${totalBytes} bytes that wait here ${bytes} are its own. Ask for a new route.`;
    link.end(peerError('busy', peer, what));
  }
}

import type { PeerId } from '../src/protocol/ids.ts';
import { SIGNALING_VERSION } from '../src/protocol/signaling.ts';
import type { ClientMessage, IceServer, ServerMessage } from '../src/protocol/signaling.ts';
import type { OfferedModels } from './offered-models.ts';
import type { Outbox } from './outbox.ts';
import type { Peers } from './peers.ts';
import type { Settling } from './settling.ts';
import type { TurnCredentials } from './turn-credentials.ts';

export interface GreetingOptions {
  /** The same for everybody. */
  readonly iceServers: readonly IceServer[];
  /** For credentials of each peer's own. */
  readonly turn?: TurnCredentials;
  /** Tells all peers to reach each other over relays only. */
  readonly isRelayOnly?: boolean;
  /** With which a peer gets its id again after its connection broke; without, it gets another. */
  readonly resumeToken?: (peer: PeerId) => string;
}

export interface GreetingDeps {
  readonly options: GreetingOptions;
  readonly models: OfferedModels;
  readonly peers: Peers;
  readonly settling: Settling;
  readonly outbox: Outbox;
  readonly mesh: () => Extract<ServerMessage, { type: 'mesh' }>;
}

type Hello = Extract<ClientMessage, { type: 'hello' }>;

/** Welcomes peers, and tells them in time what of their welcome ends. */
export class Greeting {
  readonly #deps: GreetingDeps;
  #renewedMs: number;

  constructor(deps: GreetingDeps, nowMs: number) {
    this.#deps = deps;
    this.#renewedMs = nowMs;
  }

  hello(peer: PeerId, { version }: Hello, nowMs: number): void {
    const { options, models, peers, settling, outbox, mesh } = this.#deps;
    const standing = peers.get(peer);
    if (standing?.kind !== 'stranger') {
      outbox.refuse(peer, 'bad-message', 'A second "hello" came over the same socket.');
      return;
    }
    if (version !== SIGNALING_VERSION) {
      const reason = `This server speaks signaling version ${SIGNALING_VERSION}, not ${version}. Reload the page.`;
      outbox.refuse(peer, 'bad-message', reason);
      outbox.add({ type: 'close', peer, reason: 'signaling version' });
      return;
    }
    const { isResumed } = standing;
    peers.set(peer, { kind: 'visitor' });
    if (isResumed) peers.resumed(peer, nowMs);
    settling.greeted(peer, isResumed, nowMs);
    const { isRelayOnly, resumeToken } = options;
    outbox.send(peer, {
      type: 'welcome',
      version: SIGNALING_VERSION,
      peer,
      models: models.told(),
      iceServers: this.#iceServersOf(peer),
      ...(resumeToken && { resumeToken: resumeToken(peer) }),
      ...(isRelayOnly === true && { isRelayOnly }),
    });
    outbox.send(peer, mesh());
  }

  /** Models came or went. */
  tellModels(): void {
    const { models, peers, outbox } = this.#deps;
    for (const peer of peers.greeted()) outbox.send(peer, { type: 'models', models: models.told() });
  }

  /** To be called as time passes: new credentials for everybody while the old ones can still be used. */
  advance(nowMs: number): void {
    const { options, peers, outbox } = this.#deps;
    if (options.turn === undefined || nowMs - this.#renewedMs < options.turn.renewMs) return;
    this.#renewedMs = nowMs;
    for (const peer of peers.greeted()) {
      outbox.send(peer, { type: 'ice-servers', iceServers: this.#iceServersOf(peer) });
    }
  }

  #iceServersOf(peer: PeerId): IceServer[] {
    const { iceServers, turn } = this.#deps.options;
    return turn === undefined ? [...iceServers] : [...iceServers, turn.of(peer)];
  }
}

import { PeerMesh } from '../../src/mesh/peer-mesh.ts';
import type { SignalRelay } from '../../src/mesh/peer-mesh.ts';
import { linkSignalSchema } from '../../src/mesh/link-signal.ts';
import type { LinkSignal } from '../../src/mesh/link-signal.ts';
import type { Connect, PeerConnectionOptions } from '../../src/mesh/peer-connection.ts';
import { numberMessage, splitFrame } from '../../src/mesh/framing.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import { MAX_INCOMING_LINKS, MAX_OUTGOING_LINKS } from '../../src/protocol/limits.ts';
import type { ServerMessage } from '../../src/protocol/signaling.ts';
import { FakePipe } from '../unit/mesh/fake-pipe.ts';
import { ManualClock } from '../unit/mesh/manual-clock.ts';
import { mutateBytes } from './byte-mutations.ts';
import type { Dice } from './dice.ts';
import type { FrameCorpus } from './frame-corpus.ts';
import { mutateJson } from './json-mutations.ts';
import { MessageCorpus } from './signaling-fuzz.ts';
import { describe, hexOf, Tally } from './tally.ts';

const SELF = '8'.repeat(32) as PeerId;
/** Offers come from it, since its id is smaller; the link to it is open from the start. */
const HONEST = `0${'1'.repeat(31)}` as PeerId;
const STRANGERS = 600;
const MUTATED_SHARE = 0.6;
const OPENED_SHARE = 0.2;
const MAX_TIMERS_PER_LINK = 6;
const CHECK_EVERY = 200;
const TALK_MS = 1000;
const BURST_CHANCE = 0.2;
const BURST_PEERS = 400;

/** A mesh whose server relays what strangers say, sound and unsound, while one honest link carries frames. */
export async function fuzzLinks(corpus: FrameCorpus, signals: number, dice: Dice): Promise<Tally> {
  const fuzz = new LinkFuzz(corpus, dice);
  return fuzz.run(signals);
}

/** The server, and the network: what the mesh would hear from them. */
class Outside implements SignalRelay {
  readonly #listeners = new Map<string, (message: never) => void>();
  readonly connections: PeerConnectionOptions[] = [];
  sent = 0;

  send(): void {
    this.sent += 1;
  }

  on<Type extends 'signal' | 'error' | 'mesh'>(
    type: Type,
    listener: (message: Extract<ServerMessage, { type: Type }>) => void,
  ): () => void {
    this.#listeners.set(type, listener);
    return () => void this.#listeners.delete(type);
  }

  say(message: ServerMessage): void {
    this.#listeners.get(message.type)?.(message as never);
  }

  readonly connect: Connect = (options) => {
    this.connections.push(options);
    return { signal: () => undefined, close: () => undefined };
  };
}

class LinkFuzz {
  readonly #tally = new Tally('links');
  readonly #outside = new Outside();
  readonly #clock = new ManualClock();
  readonly #mesh: PeerMesh;
  readonly #signals: MessageCorpus;
  readonly #peers: readonly PeerId[];
  readonly #pipes: FakePipe[] = [];
  readonly #honest = new FakePipe();
  #honestMessages = 0;
  #honestFrames = 0;
  #talkedAtMs = 0;
  #lastHonestFrame: Uint8Array | null = null;

  constructor(
    private readonly corpus: FrameCorpus,
    private readonly dice: Dice,
  ) {
    this.#mesh = new PeerMesh({
      self: SELF,
      signaling: this.#outside,
      iceServers: [],
      clock: this.#clock,
      connect: this.#outside.connect,
    });
    this.#peers = Array.from({ length: STRANGERS }, () => dice.hexDigits(32) as PeerId);
    const attempts = Array.from({ length: 8 }, () => dice.hexDigits(16));
    const ids = (chance: Dice) => chance.oneOf(attempts);
    this.#signals = new MessageCorpus(linkSignalSchema, dice, { ids });
    this.#mesh.onFrame((from, frame) => {
      if (from !== HONEST) return null;
      this.#honestFrames += 1;
      this.#lastHonestFrame = frame;
      return null;
    });
  }

  async run(signals: number): Promise<Tally> {
    this.#openHonest();
    for (let count = 0; count < signals; count++) {
      this.#attack();
      // An end that says nothing for long is gone.
      if (this.#clock.now() - this.#talkedAtMs >= TALK_MS) this.#talk();
      if (count % CHECK_EVERY === 0) {
        if (this.dice.chance(BURST_CHANCE)) this.#burst();
        this.#check();
        // Promises of dials that failed are looked at here.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const links = this.#mesh.linkedPeers.length;
    this.#mesh.dispose();
    if (this.#clock.pendingTimers > 0) {
      this.#tally.problem(`${this.#clock.pendingTimers} timers outlive a mesh of ${links} links`);
    }
    this.#tally.rejected.set('rejected', this.#mesh.rejectedSignals);
    this.#tally.accepted = signals - this.#mesh.rejectedSignals;
    return this.#tally;
  }

  #openHonest(): void {
    const attempt = 'a'.repeat(16);
    const data: LinkSignal = { kind: 'rtc', attempt, signal: { type: 'offer', sdp: 'v=0' } };
    this.#outside.say({ type: 'signal', from: HONEST, data });
    this.#outside.connections.shift()?.onOpen(this.#honest);
  }

  #attack(): void {
    const { dice } = this;
    const from = dice.chance(0.01) ? SELF : dice.oneOf(this.#peers);
    const data = this.#anySignal();
    this.#guard(
      () => this.#outside.say({ type: 'signal', from, data }),
      () => JSON.stringify(data).slice(0, 300),
    );
    for (const connection of this.#outside.connections.splice(0)) {
      if (!dice.chance(OPENED_SHARE)) continue;
      const pipe = new FakePipe();
      this.#pipes.push(pipe);
      this.#guard(
        () => connection.onOpen(pipe),
        () => 'opening',
      );
    }
    this.#damage();
    if (dice.chance(0.02)) {
      const error = { code: 'peer-lost' as const, message: 'gone', data: { peer: dice.oneOf(this.#peers) } };
      this.#outside.say({ type: 'error', error });
    }
    if (dice.chance(0.1))
      this.#guard(
        () => this.#clock.advance(dice.oneOf([1, 50, 500])),
        () => 'time',
      );
  }

  /** More peers than there is room for want a link in one moment, and none of them gives up. */
  #burst(): void {
    for (let count = 0; count < BURST_PEERS; count++) {
      const from = `0${this.dice.hexDigits(31)}` as PeerId;
      const data: LinkSignal = {
        kind: 'rtc',
        attempt: this.dice.hexDigits(16),
        signal: { type: 'offer', sdp: 'v=0' },
      };
      this.#guard(
        () => this.#outside.say({ type: 'signal', from, data }),
        () => 'a burst',
      );
    }
    this.#outside.connections.length = 0;
  }

  #anySignal(): unknown {
    const sound = this.#signals.sound();
    if (!this.dice.chance(MUTATED_SHARE)) return sound;
    try {
      return JSON.parse(mutateJson(sound, this.#signals.sound(), this.dice)) as unknown;
    } catch {
      return null;
    }
  }

  /** Messages over links that strangers got open. */
  #damage(): void {
    const { dice } = this;
    const pipe = this.#pipes.length > 0 ? dice.oneOf(this.#pipes) : null;
    if (this.#pipes.length > MAX_INCOMING_LINKS) this.#pipes.shift();
    if (pipe === null || !dice.chance(0.5)) return;
    const [first] = splitFrame(this.corpus.sound().bytes);
    if (first === undefined) return;
    const message = dice.chance(MUTATED_SHARE) ? mutateBytes(first, first, dice) : first;
    this.#guard(
      () => pipe.deliver(message),
      () => hexOf(message),
    );
  }

  /** A frame over the honest link arrives as it was sent. */
  #talk(): void {
    const { bytes } = this.corpus.sound();
    const before = this.#honestFrames;
    this.#talkedAtMs = this.#clock.now();
    for (const message of splitFrame(bytes)) {
      numberMessage(message, this.#honestMessages++);
      this.#guard(
        () => this.#honest.deliver(message),
        () => 'an honest message',
      );
    }
    if (
      this.#honestFrames !== before + 1 ||
      Buffer.compare(this.#lastHonestFrame ?? new Uint8Array(), bytes) !== 0
    ) {
      this.#tally.problem('a frame of the honest link did not arrive');
    }
  }

  #check(): void {
    const links = this.#mesh.linkedPeers.length;
    if (links > MAX_INCOMING_LINKS + MAX_OUTGOING_LINKS) this.#tally.problem(`${links} links`);
    if (this.#clock.pendingTimers > (links + 1) * MAX_TIMERS_PER_LINK) {
      this.#tally.problem(`${this.#clock.pendingTimers} timers of ${links} links`);
    }
  }

  #guard(run: () => void, input: () => string): void {
    try {
      run();
    } catch (thrown) {
      this.#tally.problem(`threw ${describe(SkeinError.from(thrown))}`, input);
    }
  }
}

import { SkeinError } from '../../src/protocol/errors.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import { modelIdSchema } from '../../src/protocol/route.ts';
import {
  clientMessageSchema,
  decodeClientMessage,
  decodeServerMessage,
  SIGNALING_VERSION,
} from '../../src/protocol/signaling.ts';
import type { ClientMessage, SliceName } from '../../src/protocol/signaling.ts';
import { MAX_QUEUED_REQUESTS, MAX_REQUESTS_PER_PEER, MAX_RESUMING_REQUESTS } from '../../signaling/limits.ts';
import { createLog } from '../../signaling/log.ts';
import type { Effect } from '../../signaling/presence.ts';
import { Stage } from '../unit/signaling/presence-stage.ts';
import { card, MODEL, peerId } from '../unit/signaling/scheduler/instances.ts';
import type { Dice } from './dice.ts';
import { MessageCorpus, withRoutes } from './signaling-fuzz.ts';
import { describe, Tally } from './tally.ts';

const HONEST_LENDERS = [1, 2, 3].map(peerId);
const HONEST_REQUESTER = peerId(9);
const HOSTILE = Array.from({ length: 24 }, (_, index) => peerId(0x100 + index));
const REQUEST_IDS = 40;
const ADDRESSES = 5;
const MUTATED_SHARE = 0.6;
/** Longer than anybody stays a suspect. */
const CALM_MINUTES = 15;
const CHECK_EVERY = 100;
const MAX_LOG_CHARACTERS = 3000;
/** Messages that one message may bring about: a new placement tells everybody, and a queue moves up. */
const MAX_EFFECTS = 400;
const SHOWN_CHARACTERS = 300;

/** A server's presence that hostile clients say sound and unsound things to, while honest ones lend and ask. */
export function fuzzPresence(messages: number, dice: Dice): Tally {
  return new PresenceFuzz(dice).run(messages);
}

class PresenceFuzz {
  readonly #tally = new Tally('presence');
  readonly #stage = new Stage();
  readonly #corpus: MessageCorpus;
  readonly #connected = new Set<PeerId>();
  readonly #assigned = new Map<PeerId, SliceName>();

  readonly #log = createLog('info', (line) => {
    if (line.length <= MAX_LOG_CHARACTERS && !/\p{Cc}/u.test(line)) return;
    this.#tally.problem(`a log line that is none: ${JSON.stringify(line.slice(0, SHOWN_CHARACTERS))}`);
  });

  constructor(private readonly dice: Dice) {
    const peers = [...HOSTILE, ...HONEST_LENDERS, HONEST_REQUESTER];
    const { instead, ...options } = withRoutes((ids, digits) => {
      if (digits === 32) return ids.oneOf(peers);
      return ids.below(REQUEST_IDS).toString(16).padStart(digits, '0');
    });
    const withModel = new Map([
      ...(instead ?? []),
      [modelIdSchema, (ids: Dice) => (ids.chance(0.9) ? MODEL : 'other')],
    ]);
    this.#corpus = new MessageCorpus(clientMessageSchema, dice, { ...options, instead: withModel });
  }

  run(messages: number): Tally {
    this.#guard('the honest join', () => {
      this.#stage.connect(...HONEST_LENDERS, HONEST_REQUESTER);
      this.#stage.join(...HONEST_LENDERS);
      this.#stage.loadAll();
    });
    for (let count = 0; count < messages; count++) {
      this.#stage.effects.length = 0;
      this.#step();
      if (count % CHECK_EVERY === 0) this.#check();
    }
    this.#afterwards();
    return this.#tally;
  }

  #step(): void {
    const { dice } = this;
    const peer = dice.oneOf(HOSTILE);
    if (!this.#connected.has(peer)) {
      this.#connected.add(peer);
      const accuser = `address ${dice.below(ADDRESSES)}`;
      const isResumed = dice.chance(0.3);
      this.#guard('connect', () => this.#stage.handle({ type: 'connected', peer, accuser, isResumed }));
      if (dice.chance(0.95)) this.#say(peer, JSON.stringify({ type: 'hello', version: SIGNALING_VERSION }));
    } else if (dice.chance(0.01)) {
      this.#connected.delete(peer);
      this.#assigned.delete(peer);
      this.#guard('disconnect', () => this.#stage.disconnect(peer));
    } else if (dice.chance(0.02)) {
      this.#guard('time', () => this.#stage.pass(dice.oneOf([1000, 5000, 40_000])));
    } else {
      this.#say(peer, this.#json(peer));
    }
  }

  #json(peer: PeerId): string {
    const assigned = this.#assigned.get(peer);
    if (assigned !== undefined && this.dice.chance(0.1))
      return JSON.stringify({ type: 'serving', ...assigned });
    return this.dice.chance(MUTATED_SHARE) ? this.#corpus.mutated() : JSON.stringify(this.#corpus.sound());
  }

  #say(peer: PeerId, json: string): void {
    let message: ClientMessage;
    try {
      message = decodeClientMessage(json);
    } catch (thrown) {
      this.#tally.reject(thrown, 'bad-message', () => json.slice(0, SHOWN_CHARACTERS));
      return;
    }
    this.#tally.accept();
    const effects = this.#guard(json, () => this.#stage.handle({ type: 'message', peer, message })) ?? [];
    if (effects.length > MAX_EFFECTS)
      this.#tally.problem(`${effects.length} effects of ${json.slice(0, SHOWN_CHARACTERS)}`);
    for (const effect of effects) this.#hear(effect);
  }

  /** What the server says is what its clients take, and a line of its log is a line. */
  #hear(effect: Effect): void {
    if (effect.type === 'log') {
      this.#log.info(effect.line);
    } else if (effect.type === 'send') {
      const { to, message } = effect;
      if (message.type === 'assign') this.#assigned.set(to, message);
      // Whoever gives no sign of life when it is asked counts as gone.
      if (message.type === 'roll-call' && !HOSTILE.includes(to)) {
        const { nonce } = message;
        this.#guard('the honest answer', () => this.#stage.say(to, { type: 'present', nonce }));
      }
      try {
        decodeServerMessage(JSON.stringify(message));
      } catch (thrown) {
        this.#tally.problem(`sends what no client takes: ${describe(thrown)}`);
      }
    }
  }

  #check(): void {
    const { presence } = this.#stage;
    const { requestCount, queuedCount } = presence;
    const maxRequests = (this.#connected.size + 1) * MAX_REQUESTS_PER_PEER;
    if (requestCount > maxRequests) this.#tally.problem(`${requestCount} requests hold routes`);
    if (queuedCount > MAX_QUEUED_REQUESTS + MAX_RESUMING_REQUESTS)
      this.#tally.problem(`${queuedCount} requests wait`);
    if (presence.mesh().members.length > HOSTILE.length + HONEST_LENDERS.length)
      this.#tally.problem('too many members');
    this.#guard('the honest ask', () => {
      const answer = this.#stage.route(HONEST_REQUESTER);
      if (answer?.type !== 'route') return;
      const { hops, requestId } = answer.route;
      const members = presence.mesh().members.filter(({ state }) => state === 'serving');
      const isSound =
        hops.every((hop, index) => hop.layerStart === (hops[index - 1]?.layerEnd ?? 0)) &&
        hops.at(-1)?.layerEnd === card().layerCount &&
        hops.every((hop) =>
          members.some(({ peer, layerStart, layerEnd }) => {
            return peer === hop.peer && layerStart === hop.layerStart && layerEnd === hop.layerEnd;
          }),
        );
      if (!isSound) this.#tally.problem(`an honest requester was given ${JSON.stringify(hops)}`);
      this.#stage.end(HONEST_REQUESTER, requestId);
    });
  }

  /** The hostile leave: the honest have the mesh to themselves, and nothing of the others is left. */
  #afterwards(): void {
    this.#guard('afterwards', () => {
      const { presence } = this.#stage;
      for (const peer of this.#connected) this.#stage.disconnect(peer);
      for (let minutes = 0; minutes < CALM_MINUTES; minutes++) {
        this.#stage.loadAll();
        this.#stage.pass(60_000);
      }
      this.#stage.loadAll();
      const answer = this.#stage.route(HONEST_REQUESTER);
      if (answer?.type !== 'route') this.#tally.problem(`no route in the end: ${JSON.stringify(answer)}`);
      else this.#stage.end(HONEST_REQUESTER, answer.route.requestId);
      if (presence.requestCount > 0 || presence.queuedCount > 0) {
        this.#tally.problem(
          `${presence.requestCount} requests run and ${presence.queuedCount} wait in the end`,
        );
      }
      if (presence.greeted().length !== HONEST_LENDERS.length + 1)
        this.#tally.problem('peers are left in the end');
    });
  }

  /** A fault of the presence is thrown by the stage around it. */
  #guard<Value>(what: string, run: () => Value): Value | null {
    try {
      return run();
    } catch (thrown) {
      const words = describe(SkeinError.from(thrown));
      this.#tally.problem(`failed (${what.slice(0, SHOWN_CHARACTERS)}): ${words}`);
      return null;
    }
  }
}

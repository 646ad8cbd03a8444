import { SkeinError } from '../src/protocol/errors.ts';
import type { ErrorCode } from '../src/protocol/errors.ts';
import type { ModelId, PeerId } from '../src/protocol/ids.ts';
import type { ServerMessage } from '../src/protocol/signaling.ts';
import { MAX_ERROR_CHARACTERS } from './limits.ts';

/** What the outside has to do after an event, in order. */
export type Effect =
  | { readonly type: 'send'; readonly to: PeerId; readonly message: ServerMessage }
  /** Everybody who said hello is to get `mesh()` soon. */
  | { readonly type: 'mesh-changed' }
  /** A model is gone: nobody computes it for anybody any more. */
  | { readonly type: 'model-removed'; readonly model: ModelId }
  /** The peer's socket is to be closed; that it was is told as `disconnected`. */
  | { readonly type: 'close'; readonly peer: PeerId; readonly reason: string }
  /** The peer counts as gone already: its socket is to be closed, and nothing of it is to be told any more. */
  | { readonly type: 'cut'; readonly peer: PeerId; readonly reason: string }
  | { readonly type: 'log'; readonly line: string }
  /** A fault of this program's, for the operator; what was decided before it is among the effects all the same. */
  | { readonly type: 'fault'; readonly error: SkeinError };

/** Collects what the handling of one event asks of the outside. */
export class Outbox {
  #effects: Effect[] = [];

  add(effect: Effect): void {
    this.#effects.push(effect);
  }

  send(to: PeerId, message: ServerMessage): void {
    this.add({ type: 'send', to, message });
  }

  refuse(peer: PeerId, code: ErrorCode, words: string): void {
    const error = new SkeinError(code, words.slice(0, MAX_ERROR_CHARACTERS));
    this.send(peer, { type: 'error', error: error.toShape() });
  }

  log(line: string): void {
    this.add({ type: 'log', line });
  }

  /** @returns what was asked since the last call. */
  take(): readonly Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }
}

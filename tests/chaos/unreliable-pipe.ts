import type { MessagePipe } from '../../src/mesh/frame-channel.ts';
import type { Connect } from '../../src/mesh/peer-connection.ts';
import type { WireFault } from './plan.ts';

/** What goes wrong on the wire now, as often as `share` says; nothing for null. */
export interface WireTrouble {
  readonly kind: WireFault;
  readonly share: number;
}

/** A message that waits to be overtaken goes at the latest when it has waited so long: nothing may follow it. */
const LONGEST_HOLD_MS = 50;

export interface UnreliableWireDeps {
  /** Read at every message. */
  readonly trouble: () => WireTrouble | null;
  /** In [0, 1). */
  readonly random: () => number;
  /** Runs something later. */
  readonly after: (ms: number, run: () => void) => void;
  /** Hears of every message that was harmed. */
  readonly onHarm: (kind: WireFault) => void;
}

/**
 * Connections whose messages are harmed on their way out: a bit flipped, sent twice, or overtaken by the next. All but the
 * connections are honest, so whatever comes of it is the receivers' to notice.
 */
export function unreliableConnect(connect: Connect, deps: UnreliableWireDeps): Connect {
  return (options) =>
    connect({ ...options, onOpen: (pipe) => options.onOpen(new UnreliablePipe(pipe, deps)) });
}

export class UnreliablePipe implements MessagePipe {
  readonly #pipe: MessagePipe;
  readonly #deps: UnreliableWireDeps;
  #held: Uint8Array<ArrayBuffer> | null = null;
  #isClosed = false;

  constructor(pipe: MessagePipe, deps: UnreliableWireDeps) {
    this.#pipe = pipe;
    this.#deps = deps;
  }

  get bufferedAmount(): number {
    return this.#pipe.bufferedAmount;
  }

  send(message: Uint8Array<ArrayBuffer>): void {
    const held = this.#held;
    this.#held = null;
    const trouble = this.#deps.trouble();
    if (trouble === null || this.#deps.random() >= trouble.share) this.#pipe.send(message);
    else this.#harm(trouble.kind, message);
    if (held !== null) this.#pipe.send(held);
  }

  listen(listener: Parameters<MessagePipe['listen']>[0]): void {
    this.#pipe.listen(listener);
  }

  close(): void {
    this.#isClosed = true;
    this.#held = null;
    this.#pipe.close();
  }

  #harm(kind: WireFault, message: Uint8Array<ArrayBuffer>): void {
    this.#deps.onHarm(kind);
    switch (kind) {
      case 'corrupt':
        this.#pipe.send(withFlippedBit(message, this.#deps.random()));
        return;
      case 'duplicate':
        this.#pipe.send(message);
        this.#pipe.send(message.slice());
        return;
      case 'reorder':
        this.#held = message;
        this.#deps.after(LONGEST_HOLD_MS, () => {
          if (this.#held !== message || this.#isClosed) return;
          this.#held = null;
          this.#pipe.send(message);
        });
    }
  }
}

/** @param where 0 to 1, exclusive. @returns a copy: the original may be sent again. */
function withFlippedBit(message: Uint8Array<ArrayBuffer>, where: number): Uint8Array<ArrayBuffer> {
  const harmed = message.slice();
  const bit = Math.floor(where * harmed.length * 8);
  const index = bit >> 3;
  harmed[index] = (harmed[index] ?? 0) ^ (1 << (bit & 7));
  return harmed;
}

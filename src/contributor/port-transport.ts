import { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import type { PortDelivery, PortRequest } from './worker-messages.ts';

interface PendingSend {
  readonly resolve: () => void;
  readonly reject: (error: SkeinError) => void;
}

/**
 * The worker's end of the page's transport: data channels live in the page, the engine in a worker.
 * `send` resolves when the page's `send` did, so back-pressure reaches the engine.
 */
export class PortTransport implements FrameTransport {
  readonly self: PeerId;
  readonly #port: MessagePort;
  readonly #pending = new Map<number, PendingSend>();
  readonly #frameListeners = new Set<(from: PeerId, frame: Uint8Array<ArrayBuffer>) => unknown>();
  readonly #lostListeners = new Set<(peer: PeerId, reason: SkeinError) => void>();
  #nextId = 0;
  #isClosed = false;

  constructor(self: PeerId, port: MessagePort) {
    this.self = self;
    this.#port = port;
    port.onmessage = (event: MessageEvent<PortDelivery>) => this.#receive(event.data);
  }

  send(to: PeerId, frame: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedError());
    const id = this.#nextId++;
    // The sender may use its bytes again, and a view must not drag a larger buffer along: transfer a copy.
    const bytes = frame.slice();
    this.#post({ type: 'send', id, to, bytes }, [bytes.buffer]);
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
  }

  onFrame(listener: (from: PeerId, frame: Uint8Array<ArrayBuffer>) => unknown): () => void {
    this.#frameListeners.add(listener);
    return () => void this.#frameListeners.delete(listener);
  }

  onPeerLost(listener: (peer: PeerId, reason: SkeinError) => void): () => void {
    this.#lostListeners.add(listener);
    return () => void this.#lostListeners.delete(listener);
  }

  reject(from: PeerId, reason: SkeinError): void {
    if (!this.#isClosed) this.#post({ type: 'reject', from, error: reason.toShape() });
  }

  /** What was sent before still goes out; sends under way are rejected. Idempotent. */
  dispose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // The page closes the port when it has read this far.
    this.#post({ type: 'end' });
    for (const { reject } of this.#pending.values()) reject(closedError());
    this.#pending.clear();
  }

  #post(message: PortRequest, transfer: Transferable[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  #receive(message: PortDelivery): void {
    switch (message.type) {
      case 'frame':
        this.#hearFrame(message);
        break;
      case 'peer-lost':
        for (const listener of [...this.#lostListeners]) {
          listener(message.peer, SkeinError.fromShape(message.error));
        }
        break;
      case 'sent':
        this.#settle(message.id)?.resolve();
        break;
      case 'send-failed':
        this.#settle(message.id)?.reject(SkeinError.fromShape(message.error));
        break;
    }
  }

  #hearFrame({ id, from, bytes }: Extract<PortDelivery, { type: 'frame' }>): void {
    const waiting = [...this.#frameListeners].map((listen) => listen(from, bytes));
    void Promise.allSettled(waiting).then(() => {
      if (!this.#isClosed) this.#post({ type: 'handled', id });
    });
  }

  #settle(id: number): PendingSend | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }
}

function closedError(): SkeinError {
  return new SkeinError('aborted', 'The stage was stopped before its frame was sent.');
}

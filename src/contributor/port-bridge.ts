import { SkeinError } from '../protocol/errors.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import type { PortDelivery, PortRequest } from './worker-messages.ts';

export interface PortBridge {
  /** Nothing goes to the worker any more; what it still sends goes out until it says that it is over. Idempotent. */
  detach(): void;
  /** Resolves when the worker's last frame was handed to the transport. Never, if the worker dies before. */
  readonly ended: Promise<void>;
}

/** The page's end of a `PortTransport`: passes frames between a transport and a worker's port. */
export function bridgeTransport(transport: FrameTransport, port: MessagePort): PortBridge {
  const deliver = (message: PortDelivery, transfer: Transferable[] = []) =>
    port.postMessage(message, transfer);

  let nextFrameId = 0;
  /** Frames on their way to the worker. As many as the windows of all links let in. */
  const underWay = new Map<number, () => void>();
  const stops = [
    transport.onFrame((from, frame) => {
      // The requester in this page may listen too, and a view must not drag a larger buffer along: transfer a copy.
      const bytes = frame.slice();
      const id = nextFrameId++;
      deliver({ type: 'frame', id, from, bytes }, [bytes.buffer]);
      return new Promise<void>((resolve) => underWay.set(id, resolve));
    }),
    transport.onPeerLost((peer, reason) => deliver({ type: 'peer-lost', peer, error: reason.toShape() })),
  ];
  const detach = () => {
    for (const stop of stops) stop();
    for (const handled of underWay.values()) handled();
    underWay.clear();
  };

  const send = async ({ id, to, bytes }: Extract<PortRequest, { type: 'send' }>): Promise<void> => {
    try {
      await transport.send(to, bytes);
      deliver({ type: 'sent', id });
    } catch (thrown) {
      deliver({ type: 'send-failed', id, error: SkeinError.from(thrown).toShape() });
    }
  };
  const ended = new Promise<void>((resolve) => {
    port.onmessage = ({ data }: MessageEvent<PortRequest>) => {
      if (data.type === 'send') {
        void send(data);
        return;
      }
      if (data.type === 'handled') {
        underWay.get(data.id)?.();
        underWay.delete(data.id);
        return;
      }
      if (data.type === 'reject') {
        transport.reject(data.from, SkeinError.fromShape(data.error));
        return;
      }
      detach();
      port.close();
      resolve();
    };
  });
  return { detach, ended };
}

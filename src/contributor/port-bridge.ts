import { SkeinError } from '../protocol/errors.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import type { PortDelivery, PortSend } from './worker-messages.ts';

/**
 * The page's end of a `PortTransport`: passes frames between a transport and a worker's port until disposed.
 * @returns a function that stops it and closes the port. Idempotent.
 */
export function bridgeTransport(transport: FrameTransport, port: MessagePort): () => void {
  const deliver = (message: PortDelivery, transfer: Transferable[] = []) =>
    port.postMessage(message, transfer);

  const send = async ({ id, to, bytes }: PortSend): Promise<void> => {
    try {
      await transport.send(to, bytes);
      deliver({ type: 'sent', id });
    } catch (thrown) {
      deliver({ type: 'send-failed', id, error: SkeinError.from(thrown).toShape() });
    }
  };
  port.onmessage = (event: MessageEvent<PortSend>) => void send(event.data);

  const stops = [
    transport.onFrame((from, frame) => {
      // The requester in this page may listen too, and a view must not drag a larger buffer along: transfer a copy.
      const bytes = frame.slice();
      deliver({ type: 'frame', from, bytes }, [bytes.buffer]);
    }),
    transport.onPeerLost((peer) => deliver({ type: 'peer-lost', peer })),
  ];
  return () => {
    for (const stop of stops) stop();
    port.close();
  };
}

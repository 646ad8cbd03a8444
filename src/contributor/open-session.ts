import { PeerMesh } from '../mesh/peer-mesh.ts';
import type { Connect, WebRtc } from '../mesh/peer-connection.ts';
import { SignalingClient } from '../mesh/signaling-client.ts';
import type { SignalingSocket } from '../mesh/signaling-client.ts';
import type { SkeinError } from '../protocol/errors.ts';
import type { OwnedSession } from './mesh-connection.ts';

/** A session over the server's socket and WebRTC. */
export type LiveSession = OwnedSession<SignalingClient>;

/** For places that are no browser: what stands in for its own. */
export interface SessionParts {
  readonly createSocket?: (url: string) => SignalingSocket;
  readonly wrtc?: WebRtc;
  /** Puts something between this peer and its connections, such as a wire that harms messages. */
  readonly wrapConnect?: (connect: Connect) => Connect;
}

/**
 * Connects to a server. Links to peers come when somebody sends.
 * @param serverUrl http(s), of any page of the server. @throws SkeinError as `SignalingClient.connect`.
 */
export async function openSession(
  serverUrl: string,
  signal: AbortSignal,
  { createSocket, wrtc, wrapConnect }: SessionParts = {},
): Promise<LiveSession> {
  const url = new URL('/signal', serverUrl);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const signaling = await SignalingClient.connect(url.href, {
    signal,
    ...(createSocket && { createSocket }),
  });
  const { peer: self, models, iceServers } = signaling.welcome;
  const transport = new PeerMesh({
    self,
    signaling,
    iceServers,
    ...(wrtc && { wrtc }),
    ...(wrapConnect && { wrapConnect }),
  });
  const closed = new Promise<SkeinError>((resolve) => signaling.onClosed(resolve));
  return {
    self,
    models,
    signaling,
    transport,
    closed,
    dispose: () => {
      transport.dispose();
      signaling.close();
    },
  };
}

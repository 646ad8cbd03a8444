import { PeerMesh } from './peer-mesh.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import type { Connect, WebRtc } from './peer-connection.ts';
import type { SignalingSocket } from './signaling-client.ts';
import { SignalingSession } from './signaling-session.ts';
import type { SkeinError } from '../protocol/errors.ts';
import type { OwnedSession } from './mesh-connection.ts';

/** A session over the server's socket and WebRTC. */
export interface LiveSession extends OwnedSession<SignalingSession> {
  /** What its waits and those of its requests are measured by. */
  readonly clock: Clock;
}

/** For places that are no browser: what stands in for its own. */
export interface SessionParts {
  readonly createSocket?: (url: string) => SignalingSocket;
  readonly wrtc?: WebRtc;
  /** Puts something between this peer and its connections, such as a wire that harms messages. */
  readonly wrapConnect?: (connect: Connect) => Connect;
  /** For all waits; timers of hidden tabs are throttled, so pages bring one of their own. */
  readonly clock?: Clock;
  /** Finds out more about why a peer cannot be reached. */
  readonly explainDialError?: (error: SkeinError) => Promise<SkeinError>;
  /** Hears of peers that were cut off for what they sent; the error names them. */
  readonly onMisbehaved?: (error: SkeinError) => void;
}

/**
 * Connects to a server. Links to peers come when somebody sends.
 * @param serverUrl http(s), of any page of the server. @throws SkeinError as `SignalingSession.connect`.
 */
export async function openSession(
  serverUrl: string,
  signal: AbortSignal,
  parts: SessionParts = {},
): Promise<LiveSession> {
  const { createSocket, wrtc, wrapConnect, clock = systemClock, explainDialError, onMisbehaved } = parts;
  const url = new URL('/signal', serverUrl);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const signaling = await SignalingSession.connect(url.href, {
    signal,
    clock,
    ...(createSocket && { createSocket }),
  });
  const { peer: self, iceServers, isRelayOnly = false } = signaling.welcome;
  const transport = new PeerMesh({
    self,
    signaling,
    iceServers,
    isRelayOnly,
    clock,
    ...(wrtc && { wrtc }),
    ...(wrapConnect && { wrapConnect }),
    ...(explainDialError && { explainDialError }),
  });
  transport.onMisbehaved((peer, error) => {
    signaling.suspect(null, peer, error);
    onMisbehaved?.(error);
  });
  signaling.on('ice-servers', (news) => transport.setIceServers(news.iceServers));
  signaling.on('resumed', ({ welcome }) => {
    transport.setIceServers(welcome.iceServers);
    transport.dialAgain();
  });
  const closed = new Promise<SkeinError>((resolve) => signaling.onClosed(resolve));
  return {
    self,
    get models() {
      return signaling.models;
    },
    signaling,
    transport,
    clock,
    closed,
    retryNow: () => signaling.retryNow(),
    dispose: () => {
      transport.dispose();
      signaling.close();
    },
  };
}

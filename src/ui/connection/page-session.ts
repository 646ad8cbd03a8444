import { PeerMesh } from '../../mesh/peer-mesh.ts';
import { SignalingClient } from '../../mesh/signaling-client.ts';
import type { SkeinError } from '../../protocol/errors.ts';
import { MeshConnection } from './mesh-connection.ts';
import type { OwnedSession } from './mesh-connection.ts';
import { pause } from './pause.ts';

export type PageSession = OwnedSession<SignalingClient>;

/** Keeps this page connected to the server it came from. */
export function connectPage(): MeshConnection<PageSession> {
  const connection = new MeshConnection({ open: openSession, pause, random: Math.random });
  // A page that just vanishes is missed only after seconds of silence; one that hangs up, at once.
  window.addEventListener('pagehide', () => connection.dispose());
  // Brought back from the back-forward cache, it is a page without connections.
  window.addEventListener('pageshow', ({ persisted }) => {
    if (persisted) location.reload();
  });
  return connection;
}

async function openSession(signal: AbortSignal): Promise<PageSession> {
  const url = new URL('/signal', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const signaling = await SignalingClient.connect(url.href, { signal });
  const { peer: self, models, iceServers } = signaling.welcome;
  const transport = new PeerMesh({ self, signaling, iceServers });
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

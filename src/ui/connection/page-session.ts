import { MeshConnection } from '../../contributor/mesh-connection.ts';
import { openSession } from '../../contributor/open-session.ts';
import type { LiveSession } from '../../contributor/open-session.ts';
import { pause } from '../../contributor/pause.ts';

export type PageSession = LiveSession;

/** Keeps this page connected to the server it came from. */
export function connectPage(): MeshConnection<PageSession> {
  const connection = new MeshConnection({
    open: (signal) => openSession(location.href, signal),
    pause,
    random: Math.random,
  });
  // A page that just vanishes is missed only after seconds of silence; one that hangs up, at once.
  window.addEventListener('pagehide', () => connection.dispose());
  // Brought back from the back-forward cache, it is a page without connections.
  window.addEventListener('pageshow', ({ persisted }) => {
    if (persisted) location.reload();
  });
  return connection;
}

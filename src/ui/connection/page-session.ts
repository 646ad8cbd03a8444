import { explainDialError } from '../../contributor/local-network-access.ts';
import type { PermissionStates } from '../../contributor/local-network-access.ts';
import { MeshConnection } from '../../mesh/mesh-connection.ts';
import { openSession } from '../../mesh/open-session.ts';
import type { LiveSession } from '../../mesh/open-session.ts';
import { pause } from '../../mesh/pause.ts';
import type { SkeinError } from '../../protocol/errors.ts';
import { pageClock } from './page-clock.ts';

export type PageSession = LiveSession;

/**
 * Keeps this page connected to the server it came from.
 * @param onMisbehaved hears of tabs that this one cut off for what they sent.
 */
export function connectPage(onMisbehaved?: (error: SkeinError) => void): MeshConnection<PageSession> {
  // Missing in pages without TLS; the names it is asked for are newer than its type.
  const permissions = navigator.permissions as unknown as PermissionStates | undefined;
  return new MeshConnection({
    open: (signal) =>
      openSession(location.href, signal, {
        clock: pageClock,
        ...(onMisbehaved && { onMisbehaved }),
        explainDialError: (error) => explainDialError(error, permissions, pageClock),
      }),
    pause,
    random: Math.random,
  });
}

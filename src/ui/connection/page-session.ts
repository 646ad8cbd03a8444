import { explainDialError, pagePermissions } from '../../mesh/local-network-access.ts';
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
  return new MeshConnection({
    open: (signal) =>
      openSession(location.href, signal, {
        clock: pageClock,
        ...(onMisbehaved && { onMisbehaved }),
        explainDialError: (error) => explainDialError(error, pagePermissions(), pageClock),
      }),
    pause,
    random: Math.random,
  });
}

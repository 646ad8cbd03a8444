import { systemClock } from '../../mesh/clock.ts';
import { explainDialError, pagePermissions } from '../../mesh/local-network-access.ts';
import { openSession } from '../../mesh/open-session.ts';
import type { SkeinError } from '../../protocol/errors.ts';
import { connectWith } from './connect.ts';
import type { ConnectOptions, Skein } from './types.ts';

export * from './exports.ts';

/**
 * Connects a page to a mesh, and keeps it connected until `close`: a server that was away is found again, and answers go on.
 * @param serverUrl of any page of a Skein server; `http://` may be left out.
 * @throws SkeinError `bad-argument` for what is no such address, `server-lost` or `timeout` where no server answers, `aborted`.
 */
export function connect(serverUrl: string, options?: ConnectOptions): Promise<Skein> {
  const explain = (error: SkeinError) => explainDialError(error, pagePermissions(), systemClock);
  return connectWith(
    (url, signal) => openSession(url, signal, { explainDialError: explain }),
    serverUrl,
    options,
  );
}

import { browserHints } from '../../contributor/browser-hints.ts';
import { Contributor } from '../../contributor/contributor.ts';
import type { MeshConnection } from '../../mesh/mesh-connection.ts';
import { startEngineWorker, WorkerEngineHost } from '../../contributor/worker-engine-host.ts';
import { pageClock } from './page-clock.ts';
import { followPageLife } from './page-life.ts';
import type { PageSession } from './page-session.ts';

/** What lends this page's GPU, once it is started, until the page goes. */
export function contributeFromPage(connection: MeshConnection<PageSession>): Contributor {
  const contributor = new Contributor({
    createHost: () => new WorkerEngineHost(location.href, startEngineWorker(), pageClock),
    clock: pageClock,
    hints: browserHints(),
  });
  followPageLife(connection, contributor, { window, document, reload: () => location.reload() });
  return contributor;
}

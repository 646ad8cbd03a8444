import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { createLog } from '../../signaling/log.ts';
import type { StagePolicy } from '../../signaling/scheduler/types.ts';
import { startServer } from '../../signaling/server.ts';
import type { RunningServer, ServerOptions } from '../../signaling/server.ts';
import { openServedModels } from '../../src/cli/served-models.ts';

const PROJECT = resolve(import.meta.dirname, '../..');
const PAGES = resolve(PROJECT, 'dist');
export const EMBEDDED_MODEL = resolve(PROJECT, 'public/models/skein-tiny');

/** Kept from one server to the next, as that of a server that is restarted. */
const SECRET = randomBytes(32);

/** A real server with the embedded model and the built pages. @param port 0 takes a free one. */
export async function startMesh(
  stages: StagePolicy,
  port = 0,
  network: Pick<ServerOptions, 'turn' | 'isRelayOnly' | 'corsOrigins'> = {},
): Promise<RunningServer> {
  const served = await openServedModels([EMBEDDED_MODEL]);
  return startServer({
    host: '127.0.0.1',
    port,
    models: served.map(({ card }) => card),
    roots: [...served.flatMap(({ root }) => root ?? []), { urlPath: '/', folder: PAGES }],
    stages,
    secret: SECRET,
    ...network,
    log: createLog('warn', (line) => console.error(line)),
  });
}

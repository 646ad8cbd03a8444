import type { ApiModels } from '../client/api/api-models.ts';
import { meshModels } from '../client/api/mesh-models.ts';
import { checkStructuralTag } from '../grammar/check-structural-tag.ts';
import { MeshConnection, sessionOf } from '../mesh/mesh-connection.ts';
import { openNodeSession } from '../mesh/node-session.ts';
import type { LiveSession } from '../mesh/open-session.ts';
import { pause } from '../mesh/pause.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';

/**
 * The gateway's own place on the mesh: it asks like any tab, over a session with the server that it is part of, which is kept
 * and resumed like any other.
 */
export class GatewaySession {
  #connection: MeshConnection<LiveSession> | null = null;
  #offered: ApiModels | null = null;

  /** Of every moment: those that the server offers then. */
  readonly models: ApiModels = {
    list: () => this.#models().list(),
    open: async (id, signal) => ({ ...(await this.#models().open(id, signal)), checkStructuralTag }),
  };

  /** Begins to connect. @param serverUrl of the server that this is the gateway of, on this machine. */
  open(serverUrl: string): void {
    this.#connection = new MeshConnection<LiveSession>({
      open: (signal) => openNodeSession(serverUrl, signal),
      pause,
      random: Math.random,
    });
    this.#offered = meshModels({ current: () => this.#current(), serverUrl });
  }

  /** Whether this is the gateway, as the server knows it. */
  readonly isSelf = (peer: PeerId): boolean => {
    const session = this.#connection === null ? null : sessionOf(this.#connection.state);
    return session?.self === peer;
  };

  dispose(): void {
    this.#connection?.dispose();
  }

  #models(): ApiModels {
    if (this.#offered === null) throw notYet();
    return this.#offered;
  }

  #current(): LiveSession {
    const session = this.#connection?.latestSession ?? null;
    if (session === null) throw notYet();
    return session;
  }
}

function notYet(): SkeinError {
  return new SkeinError('server-lost', 'The server has only just started. Ask again in a moment.');
}

import type { ConnectionStatus } from '../status-line/status-line.ts';
import type { ConnectionState } from '../../mesh/mesh-connection.ts';

/** What the status line shows of a connection. @param isCovered null where coverage is not of interest or not known. */
export function connectionStatus(
  state: ConnectionState<unknown>,
  isCovered: boolean | null,
): ConnectionStatus {
  if (state.phase === 'reconnecting') {
    const { phase, error, retryInMs } = state;
    return { phase, error, retryInMs };
  }
  if (state.phase !== 'online') return state;
  const servingTabs = state.mesh.members.filter((member) => member.state === 'serving').length;
  return { phase: 'online', servingTabs, isCovered };
}

import { openNodeSession } from '../../mesh/node-session.ts';
import { connectWith } from './connect.ts';
import type { ConnectOptions, Skein } from './types.ts';

export * from './exports.ts';

/** As in a browser, over the sockets and the WebRTC of npm packages. */
export function connect(serverUrl: string, options?: ConnectOptions): Promise<Skein> {
  return connectWith(openNodeSession, serverUrl, options);
}

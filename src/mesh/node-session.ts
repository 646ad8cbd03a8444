import wrtc from '@roamhq/wrtc';
import { WebSocket } from 'ws';
import { openSession } from './open-session.ts';
import type { LiveSession, SessionParts } from './open-session.ts';
import type { Connect } from './peer-connection.ts';
import { StandstillWatch, steadyConnect } from './steady-connect.ts';

const standstill = new StandstillWatch({
  now: () => performance.now(),
  every: (ms, run) => setInterval(run, ms).unref(),
});

/** Node has neither a WebSocket, before version 22, nor WebRTC. @throws SkeinError as `openSession`. */
export function openNodeSession(
  serverUrl: string,
  signal: AbortSignal,
  parts: SessionParts = {},
): Promise<LiveSession> {
  const { wrapConnect = (connect: Connect) => connect } = parts;
  return openSession(serverUrl, signal, {
    createSocket: (url) => new WebSocket(url),
    wrtc,
    ...parts,
    wrapConnect: (connect) => wrapConnect(steadyConnect(connect, standstill)),
  });
}

import wrtc from '@roamhq/wrtc';
import { WebSocket } from 'ws';
import { openSession } from '../mesh/open-session.ts';
import type { LiveSession, SessionParts } from '../mesh/open-session.ts';
import type { Connect } from '../mesh/peer-connection.ts';
import { SkeinError } from '../protocol/errors.ts';
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

/** The address of a server as people write it: with or without `http://`. @throws SkeinError `bad-argument`. */
export function parseServerUrl(text: string): string {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (URL.canParse(withScheme)) {
    const { protocol, href } = new URL(withScheme);
    if (protocol === 'http:' || protocol === 'https:') return href;
  }
  throw new SkeinError(
    'bad-argument',
    `"${text}" is no address of a Skein server, such as http://localhost:3000.`,
  );
}

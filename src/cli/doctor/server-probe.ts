import * as v from 'valibot';
import { openNodeSession } from '../../mesh/node-session.ts';
import type { SessionParts } from '../../mesh/open-session.ts';
import { SkeinError } from '../../protocol/errors.ts';
import { attempt } from './attempt.ts';
import type { ServerFacts } from './facts.ts';
import { probeIceServers } from './webrtc-probe.ts';

const HTTP_TIMEOUT_MS = 5_000;
const SESSION_TIMEOUT_MS = 10_000;
/** Of `/healthz`; a thousand model names are shorter. */
const MAX_HEALTH_BYTES = 1024 ** 2;

const healthSchema = v.object({
  status: v.literal('ok'),
  models: v.array(v.string()),
  covered: v.array(v.string()),
});

/** @param parts with which the server is reached. */
export async function probeServer(url: string, parts: SessionParts): Promise<ServerFacts> {
  const health = await attempt('The server', HTTP_TIMEOUT_MS, (signal) => healthOf(url, signal));
  const session = await attempt('The WebSocket /signal', SESSION_TIMEOUT_MS, async (signal) => {
    const live = await openNodeSession(url, signal, parts);
    const { version, iceServers, isRelayOnly = false } = live.signaling.welcome;
    live.dispose();
    return { version, iceServers, isRelayOnly };
  });
  const iceServers = session.isOk ? await probeIceServers(session.facts.iceServers) : [];
  return { url, health, session, iceServers };
}

async function healthOf(url: string, signal: AbortSignal) {
  const response = await fetch(new URL('/healthz', url), { signal });
  const receivedMs = Date.now();
  const text = await limitedText(response);
  const parsed = response.ok ? v.safeParse(v.pipe(v.string(), v.parseJson(), healthSchema), text) : null;
  if (parsed?.success !== true) {
    throw new SkeinError(
      'bad-message',
      `answers /healthz with ${response.status}, and not as a Skein server does. Is it one?`,
    );
  }
  const { models, covered } = parsed.output;
  const serverMs = Date.parse(response.headers.get('date') ?? '');
  const clockAheadSeconds = Number.isNaN(serverMs) ? null : Math.round((serverMs - receivedMs) / 1000);
  return { models: models.length, covered: covered.length, clockAheadSeconds };
}

async function limitedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MAX_HEALTH_BYTES)
      throw new SkeinError('bad-message', 'answers /healthz without end. Is it a Skein server?');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

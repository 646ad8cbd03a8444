import wrtc from '@roamhq/wrtc';
import type { IceServer } from '../../protocol/signaling.ts';
import { attempt } from './attempt.ts';
import type { IceFacts, Outcome } from './facts.ts';

const LOOPBACK_TIMEOUT_MS = 10_000;
const ICE_TIMEOUT_MS = 5_000;
const MESSAGE = 'skein';

/** Two ends in this process, a data channel between them, and a message there and back. */
export function probeWebRtc(): Promise<Outcome<{ milliseconds: number }>> {
  return attempt('A data channel to itself', LOOPBACK_TIMEOUT_MS, async (signal) => {
    const startedMs = performance.now();
    const [caller, callee] = [new wrtc.RTCPeerConnection(), new wrtc.RTCPeerConnection()];
    signal.addEventListener('abort', () => {
      caller.close();
      callee.close();
    });
    caller.onicecandidate = ({ candidate }) => void (candidate && callee.addIceCandidate(candidate));
    callee.onicecandidate = ({ candidate }) => void (candidate && caller.addIceCandidate(candidate));
    callee.ondatachannel = ({ channel }) => {
      channel.onmessage = ({ data }: MessageEvent<string>) => channel.send(data);
    };
    const channel = caller.createDataChannel('doctor');
    const echoed = new Promise<void>((resolve) => {
      channel.onmessage = () => resolve();
      channel.onopen = () => channel.send(MESSAGE);
    });
    await caller.setLocalDescription(await caller.createOffer());
    await callee.setRemoteDescription(caller.localDescription ?? (await caller.createOffer()));
    await callee.setLocalDescription(await callee.createAnswer());
    await caller.setRemoteDescription(callee.localDescription ?? (await callee.createAnswer()));
    await echoed;
    return { milliseconds: performance.now() - startedMs };
  });
}

/** Each server by itself: whether it tells this machine's address, or for TURN relays. */
export async function probeIceServers(servers: readonly IceServer[]): Promise<IceFacts[]> {
  const single = servers.flatMap((server) => [server.urls].flat().map((url) => ({ ...server, urls: url })));
  return Promise.all(
    single.map(async (server) => ({ url: server.urls, answer: await probeIceServer(server) })),
  );
}

function probeIceServer(
  server: IceServer & { readonly urls: string },
): Promise<Outcome<{ milliseconds: number }>> {
  const isTurn = /^turns?:/i.test(server.urls);
  const what = isTurn ? 'The TURN server' : 'The STUN server';
  return attempt(what, ICE_TIMEOUT_MS, async (signal) => {
    const startedMs = performance.now();
    const connection = new wrtc.RTCPeerConnection({
      iceServers: [server],
      ...(isTurn && { iceTransportPolicy: 'relay' as const }),
    });
    signal.addEventListener('abort', () => connection.close());
    const found = new Promise<void>((resolve) => {
      connection.onicecandidate = ({ candidate }) => {
        if (candidate !== null && / typ (srflx|relay)/.test(candidate.candidate)) resolve();
      };
    });
    connection.createDataChannel('doctor');
    await connection.setLocalDescription(await connection.createOffer());
    await found;
    return { milliseconds: performance.now() - startedMs };
  });
}

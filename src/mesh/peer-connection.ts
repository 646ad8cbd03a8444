/**
 * simple-peer, and what is odd about it, behind a small interface:
 * its browser build is used everywhere because the plain one wants Node's `stream`, `buffer` and `process` from a bundler;
 * it throws, asynchronously or not, on descriptions that do not parse; and it is a stream, so its queue and `drain` are
 * the stream's.
 */
import SimplePeer from 'simple-peer/simplepeer.min.js';
import * as v from 'valibot';
import { SkeinError } from '../protocol/errors.ts';
import type { ServerMessage } from '../protocol/signaling.ts';
import type { MessagePipe } from './frame-channel.ts';
import { rtcSignalSchema } from './link-signal.ts';
import type { RtcSignal } from './link-signal.ts';

export type IceServer = Extract<ServerMessage, { type: 'welcome' }>['iceServers'][number];

/** A WebRTC implementation, for places that have none of their own: `@roamhq/wrtc` in Node. */
export type WebRtc = NonNullable<NonNullable<ConstructorParameters<typeof SimplePeer>[0]>['wrtc']>;

export interface PeerConnection {
  /** What the other end's `onSignal` said. */
  signal(signal: RtcSignal): void;
  /** No listener is called after that. Idempotent. */
  close(): void;
}

export interface PeerConnectionOptions {
  readonly isInitiator: boolean;
  readonly onSignal: (signal: RtcSignal) => void;
  readonly onOpen: (pipe: MessagePipe) => void;
  /** Once, unless closed from here. */
  readonly onClosed: (error: SkeinError) => void;
}

/** @returns a connection that begins to gather candidates at once. */
export type Connect = (options: PeerConnectionOptions) => PeerConnection;

/** By which ways peers may reach each other. */
export interface IceSettings {
  readonly iceServers: readonly IceServer[];
  /** Only over a TURN server: peers then learn nothing of each other's addresses. */
  readonly isRelayOnly: boolean;
}

/**
 * @param settings asked for each connection: credentials of relays end some time.
 * The connections throw where there is no WebRTC, and `no-route` where all ways are to lead over a relay and there is none.
 */
export function simplePeerConnect(settings: () => IceSettings, wrtc?: WebRtc): Connect {
  return ({ isInitiator, onSignal, onOpen, onClosed }) => {
    const { iceServers, isRelayOnly } = settings();
    if (isRelayOnly && !iceServers.some(isRelay)) {
      throw new SkeinError(
        'no-route',
        'Links are to lead over a TURN server only, and the server named none. Its operator has to.',
      );
    }
    const peer = new SimplePeer({
      initiator: isInitiator,
      config: {
        iceServers: iceServers.map(({ urls, ...credentials }) => ({ urls, ...credentials })),
        ...(isRelayOnly && { iceTransportPolicy: 'relay' }),
      },
      ...(wrtc && { wrtc }),
    });
    let isClosed = false;
    let failure: unknown;
    const end = () => {
      if (isClosed) return;
      isClosed = true;
      onClosed(
        new SkeinError('peer-lost', 'The connection was closed or could not be made.', { cause: failure }),
      );
    };
    peer.on('signal', (signal) => {
      if (!isClosed && v.is(rtcSignalSchema, signal)) onSignal(signal);
    });
    peer.on('connect', () => {
      if (!isClosed) onOpen(pipeOf(peer, () => isClosed));
    });
    peer.on('error', (error) => (failure = error));
    peer.on('close', end);
    return {
      signal(signal) {
        if (isClosed) return;
        try {
          // The cast is safe: simple-peer passes a candidate's fields to RTCIceCandidate, which takes these.
          peer.signal(signal as SimplePeer.SignalData);
        } catch (thrown) {
          peer.destroy(thrown instanceof Error ? thrown : new Error(String(thrown)));
        }
      },
      close() {
        isClosed = true;
        peer.destroy();
        forgetTimer(peer);
      },
    };
  };
}

function isRelay({ urls }: IceServer): boolean {
  return [urls].flat().some((url) => /^turns?:/i.test(url));
}

/** simple-peer waits on for candidates after its end, which keeps a process of Node alive for seconds. */
function forgetTimer(peer: SimplePeer.Instance): void {
  const { _iceCompleteTimer: timer } = peer as unknown as { readonly _iceCompleteTimer: number | null };
  if (timer !== null) clearTimeout(timer);
}

/**
 * A channel that the other end has closed, of which the event is still to come, kills the process in wrtc when it is written to. The
 * state is asked of the native side. `peer.connected` says no for a moment after `connect` as well.
 */
function isChannelGone(peer: SimplePeer.Instance): boolean {
  const { _channel: channel } = peer as unknown as { readonly _channel: RTCDataChannel | null };
  return channel === null || channel.readyState === 'closing' || channel.readyState === 'closed';
}

function pipeOf(peer: SimplePeer.Instance, isClosed: () => boolean): MessagePipe {
  return {
    get bufferedAmount() {
      return peer.writableLength + peer.bufferSize;
    },
    send(message) {
      if (!isClosed() && !isChannelGone(peer)) peer.write(message);
    },
    close: () => void peer.destroy(),
    listen({ message, drain }) {
      peer.on('data', (bytes: Uint8Array) => {
        if (!isClosed()) message(bytes);
      });
      peer.on('drain', () => {
        if (!isClosed()) drain();
      });
    },
  };
}

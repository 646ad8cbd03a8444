import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { addressKey } from './address-key.ts';
import {
  HTTP_IDLE_TIMEOUT_MS,
  MAX_CONNECTIONS,
  MAX_CONNECTIONS_PER_ADDRESS,
  REQUEST_CHECK_MS,
  REQUEST_HEAD_TIMEOUT_MS,
  REQUEST_TIMEOUT_MS,
} from './limits.ts';

export interface ConnectionLimits {
  readonly maxPerAddress?: number;
  /** False behind a proxy, whose address they all have. */
  readonly countsAddresses: boolean;
}

/** For `createServer`: how long a client may take to say what it wants. */
export function httpTimeouts(headTimeoutMs = REQUEST_HEAD_TIMEOUT_MS) {
  return {
    headersTimeout: headTimeoutMs,
    requestTimeout: Math.max(headTimeoutMs, REQUEST_TIMEOUT_MS),
    connectionsCheckingInterval: Math.min(headTimeoutMs, REQUEST_CHECK_MS),
  };
}

/** Bounds the TCP connections of an HTTP server, whatever is said over them; WebSockets are among them. */
export function guardConnections(http: Server, { maxPerAddress, countsAddresses }: ConnectionLimits): void {
  http.maxConnections = MAX_CONNECTIONS;
  http.timeout = HTTP_IDLE_TIMEOUT_MS;
  if (!countsAddresses) return;
  const most = maxPerAddress ?? MAX_CONNECTIONS_PER_ADDRESS;
  const counts = new Map<string, number>();
  http.on('connection', (socket: Socket) => {
    const key = addressKey(socket.remoteAddress ?? 'unknown');
    const count = counts.get(key) ?? 0;
    if (count >= most) {
      socket.destroy();
      return;
    }
    counts.set(key, count + 1);
    socket.once('close', () => {
      const left = (counts.get(key) ?? 0) - 1;
      if (left > 0) counts.set(key, left);
      else counts.delete(key);
    });
  });
}

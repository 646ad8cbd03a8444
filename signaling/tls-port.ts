import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import { REQUEST_HEAD_TIMEOUT_MS } from './limits.ts';

/** A server's certificate, with the chain behind it if there is one, and its key. PEM. */
export interface TlsIdentity {
  readonly cert: string;
  readonly key: string;
}

/** With which every TLS connection begins, and no HTTP request. */
const TLS_HANDSHAKE_RECORD = 0x16;

/**
 * Lets an HTTP server answer HTTPS on the same port: the first byte of a connection tells which it is. Both are requests of
 * the one server, with its limits. To be called before anybody else listens to its connections.
 * @param timeoutMs for the first byte and the handshake together; the head of the request has its own.
 * @returns cuts all connections, also those that are neither yet, which the server does not know of.
 */
export function alsoSpeakTls(
  http: Server,
  identity: TlsIdentity,
  timeoutMs = REQUEST_HEAD_TIMEOUT_MS,
): () => void {
  const secureContext = createSecureContext({ ...identity, minVersion: 'TLSv1.2' });
  // Cast: the type says no more of a listener than that it can be called.
  const listeners = http.listeners('connection') as ((socket: Socket) => void)[];
  const serve = (socket: Socket) => {
    for (const listener of listeners) listener.call(http, socket);
  };
  const sockets = new Set<Socket>();
  http.removeAllListeners('connection');
  http.on('connection', (socket: Socket) => {
    const cut = () => socket.destroy();
    const timer = setTimeout(cut, timeoutMs);
    const serveInTime = (decided: Socket) => {
      clearTimeout(timer);
      serve(decided);
    };
    sockets.add(socket);
    socket.once('close', () => {
      clearTimeout(timer);
      sockets.delete(socket);
    });
    onFirstByte(socket, (byte) => {
      if (byte !== TLS_HANDSHAKE_RECORD) {
        serveInTime(socket);
        return;
      }
      socket.on('error', cut);
      // Not by a server of `node:tls`: where one is handed its sockets, its own time limit does not end them.
      const secured = new TLSSocket(socket, { isServer: true, secureContext });
      secured.once('error', cut).once('end', cut);
      secured.once('secure', () => {
        secured.off('error', cut).off('end', cut);
        serveInTime(secured);
      });
    });
  });
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}

/** The byte stays to be read. */
function onFirstByte(socket: Socket, hear: (byte: number) => void): void {
  // One that ends without a word would stay half open.
  const cut = () => socket.destroy();
  const look = () => {
    const first = socket.read(1) as Buffer | null;
    const byte = first?.[0];
    if (first === null || byte === undefined) return;
    socket.off('readable', look).off('end', cut).off('error', cut);
    socket.unshift(first);
    hear(byte);
  };
  socket.on('readable', look).on('end', cut).on('error', cut);
}

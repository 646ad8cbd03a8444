import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';

const DRIBBLE_MS = 20;

/** A connection of its own, on which a test writes what no client library would, and whose errors are an end like any other. */
export async function openSocket(serverUrl: string): Promise<Socket> {
  const { hostname, port } = new URL(serverUrl);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** What comes before the body of a question. */
export function headOf(serverUrl: string, path: string, bodyBytes: number): string {
  const headers = [
    `host: ${new URL(serverUrl).host}`,
    'content-type: application/json',
    `content-length: ${bodyBytes}`,
  ];
  return `POST ${path} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`;
}

/** Sends a body in bytes, until it is told to stop. */
export function dribble(socket: Socket, body: string): () => void {
  let sent = 0;
  const timer = setInterval(() => {
    if (sent < body.length) socket.write(body.charAt(sent));
    sent += 1;
  }, DRIBBLE_MS);
  return () => clearInterval(timer);
}

/** What came until the server closed its side. */
export async function restOf(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (words: string) => (text += words));
  await new Promise<void>((resolve) => {
    for (const event of ['end', 'close']) socket.once(event, () => resolve());
  });
  socket.destroy();
  return text;
}

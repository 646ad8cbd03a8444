import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { AddressInfo } from 'node:net';
import { SignalingClient } from '../../src/mesh/signaling-client.ts';
import { SIGNALING_VERSION } from '../../src/protocol/signaling.ts';
import type { ServerMessage } from '../../src/protocol/signaling.ts';
import { peerId } from '../unit/mesh/local-mesh.ts';

const createSocket = (url: string) => new WebSocket(url);

let server: WebSocketServer;
let url: string;

beforeEach(async () => {
  server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await new Promise((resolve) => server.once('listening', resolve));
  url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(() => {
  for (const client of server.clients) client.terminate();
  server.close();
});

describe('the signaling client over a socket of ws', () => {
  it('connects, hears what came together with the welcome, and reports the loss', async () => {
    const messages: ServerMessage[] = [
      { type: 'welcome', version: SIGNALING_VERSION, peer: peerId(1), models: [], iceServers: [] },
      { type: 'mesh', members: [], covered: [] },
    ];
    server.on('connection', (socket) => {
      socket.once('message', () => {
        for (const message of messages) socket.send(JSON.stringify(message));
      });
    });
    const client = await SignalingClient.connect(url, { createSocket });
    const mesh = await new Promise((resolve) => client.on('mesh', resolve));
    expect(mesh).toEqual(messages[1]);
    const lost = new Promise((resolve) => client.onClosed(resolve));
    for (const socket of server.clients) socket.terminate();
    expect(await lost).toMatchObject({ code: 'server-lost' });
  });

  it('says that nobody listens there', async () => {
    await new Promise((resolve) => server.close(resolve));
    await expect(SignalingClient.connect(url, { createSocket })).rejects.toMatchObject({
      code: 'server-lost',
    });
  });
});

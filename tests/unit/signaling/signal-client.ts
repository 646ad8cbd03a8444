import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { ClientOptions } from 'ws';
import { decodeServerMessage, SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';
import type { ClientMessage, ServerMessage } from '../../../src/protocol/signaling.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';

type MessageOf<Type extends ServerMessage['type']> = Extract<ServerMessage, { type: Type }>;

/** A client that the server knows, and what proves who it is. */
export type GreetedClient = SignalClient & { readonly peer: PeerId; readonly token: string };

/** A client of the server under test that keeps everything it is sent, checked against the protocol. */
export class SignalClient {
  readonly received: ServerMessage[] = [];
  readonly closed: Promise<number>;
  readonly #waiting = new Set<() => void>();

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer) => {
      this.received.push(decodeServerMessage(data.toString('utf8')));
      for (const look of [...this.#waiting]) look();
    });
    this.closed = new Promise((resolve) => socket.on('close', resolve));
    // What was wrong shows in the close code.
    socket.on('error', () => undefined);
  }

  static async connect(url: string, options: ClientOptions = {}): Promise<SignalClient> {
    const client = new SignalClient(new WebSocket(`${url.replace('http', 'ws')}/signal`, options));
    await once(client.socket, 'open');
    return client;
  }

  /** Connected and welcomed. */
  static async greeted(url: string, options: ClientOptions = {}): Promise<GreetedClient> {
    const client = await SignalClient.connect(url, options);
    return greet(client, { type: 'hello', version: SIGNALING_VERSION });
  }

  /** Connected, and welcomed as who it was, if the server takes the token. */
  static async resumed(url: string, resume: { peer: PeerId; token: string }): Promise<GreetedClient> {
    const client = await SignalClient.connect(url);
    return greet(client, { type: 'hello', version: SIGNALING_VERSION, resume });
  }

  send(message: ClientMessage): void {
    this.socket.send(JSON.stringify(message));
  }

  /** The first message of a type, now or when it comes, that `where` accepts; taken, so that the next call gives the next. */
  next<Type extends ServerMessage['type']>(
    type: Type,
    where: (message: MessageOf<Type>) => boolean = () => true,
  ): Promise<MessageOf<Type>> {
    return new Promise((resolve) => {
      const look = () => {
        const index = this.received.findIndex((message) => isType(message, type) && where(message));
        const [found] = index === -1 ? [] : this.received.splice(index, 1);
        if (found === undefined || !isType(found, type)) return;
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

function isType<Type extends ServerMessage['type']>(
  message: ServerMessage,
  type: Type,
): message is MessageOf<Type> {
  return message.type === type;
}

async function greet(client: SignalClient, hello: ClientMessage): Promise<GreetedClient> {
  client.send(hello);
  const { peer, resumeToken = '' } = await client.next('welcome');
  return Object.assign(client, { peer, token: resumeToken });
}

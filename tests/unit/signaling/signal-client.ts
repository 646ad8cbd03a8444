import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { ClientOptions } from 'ws';
import { decodeServerMessage, SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';
import type { ClientMessage, ServerMessage } from '../../../src/protocol/signaling.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';

type MessageOf<Type extends ServerMessage['type']> = Extract<ServerMessage, { type: Type }>;

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
  static async greeted(url: string, options: ClientOptions = {}): Promise<SignalClient & { peer: PeerId }> {
    const client = await SignalClient.connect(url, options);
    client.send({ type: 'hello', version: SIGNALING_VERSION });
    const { peer } = await client.next('welcome');
    return Object.assign(client, { peer });
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

import { KEEP_ALIVE_MS } from './limits.ts';

/** One of a stream, as `text/event-stream` has them. */
export interface ServerSentEvent {
  /** Absent for the one kind that OpenAI's older APIs have. */
  readonly event?: string;
  /** Without line breaks. */
  readonly data: string;
}

export interface EventStreamOptions {
  /** The next event is asked for when the last one was taken: who does not read waits, and so does the answer. */
  readonly events: AsyncIterator<ServerSentEvent, void, void>;
  /** Said between events as soon as it is set. */
  readonly comments: CommentBox;
  /** The client is gone, or the answer is told. Called once. */
  readonly onEnd: () => void;
  readonly keepAliveMs?: number;
}

/** The latest comment, until it is taken: older ones are of no interest any more. */
export class CommentBox {
  #text: string | null = null;
  #wake: () => void = () => undefined;

  put(text: string): void {
    this.#text = text;
    this.#wake();
  }

  take(): string | null {
    const text = this.#text;
    this.#text = null;
    return text;
  }

  /** Resolves when there is one. */
  get filled(): Promise<void> {
    return this.#text === null ? new Promise((resolve) => (this.#wake = resolve)) : Promise.resolve();
  }
}

/** Events as bytes, with comments where there is nothing to tell. Never holds more than one event. */
export function eventStream(options: EventStreamOptions): ReadableStream<Uint8Array> {
  const { events, comments, onEnd, keepAliveMs = KEEP_ALIVE_MS } = options;
  const encoder = new TextEncoder();
  let next: Promise<IteratorResult<ServerSentEvent, void>> | null = null;
  let isOver = false;
  const end = () => {
    if (!isOver) onEnd();
    isOver = true;
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        next ??= events.next();
        try {
          const result = await firstOf(next, comments.filled, keepAliveMs);
          if (result === 'comment' || result === 'silence') {
            controller.enqueue(encoder.encode(`: ${comments.take() ?? 'keep-alive'}\n\n`));
            return;
          }
          next = null;
          if (result.done === true) {
            controller.close();
            end();
          } else controller.enqueue(encoder.encode(formatEvent(result.value)));
        } catch (thrown) {
          controller.error(thrown);
          end();
        }
      },
      cancel() {
        end();
      },
    },
    { highWaterMark: 0 },
  );
}

function formatEvent({ event, data }: ServerSentEvent): string {
  return `${event === undefined ? '' : `event: ${event}\n`}data: ${data}\n\n`;
}

async function firstOf<T>(
  next: Promise<T>,
  comment: Promise<void>,
  keepAliveMs: number,
): Promise<T | 'comment' | 'silence'> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<'silence'>((resolve) => {
    timer = setTimeout(() => resolve('silence'), keepAliveMs);
  });
  try {
    return await Promise.race([next, comment.then(() => 'comment' as const), silence]);
  } finally {
    clearTimeout(timer);
  }
}

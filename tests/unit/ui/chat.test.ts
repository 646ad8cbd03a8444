import { beforeEach, describe, expect, it } from 'vitest';
import type { GenerateEvent, GenerateRequest } from '../../../src/client/generate.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { RequestId } from '../../../src/protocol/ids.ts';
import type { Route } from '../../../src/protocol/route.ts';
import { ChatController } from '../../../src/ui/chat/chat-controller.ts';
import { clampSettings, samplingParams } from '../../../src/ui/chat/sampling.ts';
import { StreamAnnouncer } from '../../../src/ui/chat/stream-announcer.ts';
import { deferred, peerId, settled, TINY } from '../contributor/fakes.ts';

const SETTINGS = { temperature: 0, maxTokens: 64 };
const SELF = peerId('a');

const ROUTE: Route = {
  requestId: '0123456789abcdef' as RequestId,
  epoch: 0,
  model: TINY.id,
  hops: [{ peer: SELF, layerStart: 0, layerEnd: 8 }],
};

/** A generation the test drives event by event. */
class FakeGeneration {
  #next = deferred<GenerateEvent | null>();

  constructor(
    readonly request: GenerateRequest,
    readonly signal: AbortSignal,
  ) {
    signal.addEventListener('abort', () => this.#next.reject(new SkeinError('aborted', 'stopped')));
  }

  async *events(): AsyncGenerator<GenerateEvent> {
    for (;;) {
      const event = await this.#next.promise;
      this.#next = deferred();
      if (event === null) return;
      yield event;
    }
  }

  async emit(event: GenerateEvent): Promise<void> {
    this.#next.resolve(event);
    await settled();
  }

  async token(text: string): Promise<void> {
    await this.emit({ type: 'token', tokenId: 1, logProbability: -0.1, topLogProbabilities: [], text });
  }

  async finish(text: string): Promise<void> {
    await this.emit({
      type: 'done',
      result: {
        text,
        tokenIds: [1, 2, 3],
        promptTokens: 12,
        cachedTokens: 0,
        finishReason: 'stop',
        timeToFirstTokenMs: 400,
        reroutes: [],
        droppedTokens: 0,
        tokensPerSecond: 10,
      },
    });
    this.#next.resolve(null);
    await settled();
  }

  async fail(error: Error): Promise<void> {
    this.#next.reject(error);
    await settled();
  }
}

let generations: FakeGeneration[];
let isOnline: boolean;
let chat: ChatController;

beforeEach(() => {
  generations = [];
  isOnline = true;
  chat = new ChatController({
    generator: () =>
      isOnline
        ? {
            self: SELF,
            generate: (request, signal) => {
              const generation = new FakeGeneration(request, signal);
              generations.push(generation);
              return generation.events();
            },
          }
        : null,
    randomSeed: () => 7,
  });
});

async function send(text: string): Promise<FakeGeneration> {
  chat.send(text, TINY.id, SETTINGS);
  await settled();
  return latest();
}

function latest(): FakeGeneration {
  const generation = generations.at(-1);
  if (generation === undefined) throw new Error('nothing was generated');
  return generation;
}

const answer = () => chat.turns.at(-1)?.answer;

describe('ChatController', () => {
  it('streams an answer and shows who computed it', async () => {
    const generation = await send('  What is Skein?  ');
    expect(chat.turns).toMatchObject([
      { prompt: 'What is Skein?', answer: { status: { phase: 'preparing' } } },
    ]);
    await generation.emit({ type: 'route', route: ROUTE, reroute: null });
    expect(answer()).toMatchObject({ route: ROUTE, self: SELF, status: { phase: 'reading' } });
    await generation.token('Ske');
    await generation.token('in');
    expect(answer()).toMatchObject({ text: 'Skein', tokenIds: [1, 1], status: { phase: 'writing' } });
    expect(chat.isAnswering).toBe(true);
    await generation.finish('Skein.');
    expect(answer()).toMatchObject({
      text: 'Skein.',
      tokenIds: [1, 2, 3],
      status: { phase: 'done', finishReason: 'stop', tokensPerSecond: 10 },
    });
    expect(chat.isAnswering).toBe(false);
  });

  it('asks with the model, the settings and a seed', async () => {
    const { request } = await send('Hi');
    expect(request).toMatchObject({
      model: TINY.id,
      maxTokens: 64,
      sampling: { temperature: 0, seed: 7 },
      prompt: { kind: 'chat', messages: [{ role: 'user', content: 'Hi' }] },
    });
  });

  it('sends the history, without turns that failed or got no answer', async () => {
    await (await send('one')).finish('first');
    const failing = await send('two');
    await failing.token('wrong');
    await failing.fail(new SkeinError('peer-lost', 'gone'));
    await send('three');
    chat.stop();
    await settled();
    const partly = await send('four');
    await partly.token('half');
    chat.stop();
    await settled();
    const { request } = await send('five');
    expect(request.prompt).toEqual({
      kind: 'chat',
      messages: [
        { role: 'user', content: 'one' },
        { role: 'assistant', content: 'first' },
        { role: 'user', content: 'four' },
        { role: 'assistant', content: 'half' },
        { role: 'user', content: 'five' },
      ],
    });
  });

  it('sends nothing blank and answers one question at a time', async () => {
    chat.send(' \n ', TINY.id, SETTINGS);
    await send('one');
    chat.send('two', TINY.id, SETTINGS);
    expect(chat.turns.map(({ prompt }) => prompt)).toEqual(['one']);
  });

  it('stops, and keeps what was written', async () => {
    const generation = await send('one');
    await generation.token('some');
    chat.stop();
    await settled();
    expect(generation.signal.aborted).toBe(true);
    expect(answer()).toMatchObject({ text: 'some', status: { phase: 'stopped' } });
    expect(chat.isAnswering).toBe(false);
  });

  it('retries in place of the failed answer', async () => {
    const error = new SkeinError('timeout', 'silence');
    await (await send('one')).fail(error);
    expect(answer()).toMatchObject({ status: { phase: 'failed', error } });
    chat.retry(TINY.id, SETTINGS);
    await settled();
    await latest().finish('now');
    expect(chat.turns).toMatchObject([{ prompt: 'one', answer: { text: 'now', status: { phase: 'done' } } }]);
    expect(latest().request.prompt).toMatchObject({ messages: [{ role: 'user', content: 'one' }] });
  });

  it('shows why it waits, and goes on after a new route', async () => {
    const generation = await send('one');
    await generation.token('so');
    await generation.emit({ type: 'queued', position: 3 });
    expect(answer()).toMatchObject({ status: { phase: 'queued', position: 3 } });
    const error = new SkeinError('peer-lost', 'gone');
    const reroute = { epoch: 0, peer: SELF, code: 'peer-lost', phase: 'decoding', pauseMs: 5 } as const;
    await generation.emit({ type: 'waiting', error, epoch: 1, delayMs: 100, reroute });
    expect(answer()).toMatchObject({ text: 'so', status: { phase: 'waiting', error, reroute } });
    await generation.emit({ type: 'route', route: { ...ROUTE, epoch: 1 }, reroute });
    expect(answer()).toMatchObject({ route: { epoch: 1 }, status: { phase: 'resuming', reroute } });
    await generation.emit({ type: 'resumed', reroutes: [reroute] });
    await generation.token(' it');
    expect(answer()).toMatchObject({ reroutes: [reroute], status: { phase: 'writing' } });
  });

  it('fails with words while there is no connection', async () => {
    isOnline = false;
    chat.send('one', TINY.id, SETTINGS);
    await settled();
    expect(answer()).toMatchObject({ status: { phase: 'failed', error: { code: 'server-lost' } } });
    expect(chat.isAnswering).toBe(false);
  });

  it('forgets everything when started over, also an answer under way', async () => {
    const generation = await send('one');
    chat.startOver();
    expect(chat.turns).toEqual([]);
    expect(generation.signal.aborted).toBe(true);
    await settled();
    expect(chat.turns).toEqual([]);
    await (await send('two')).finish('fine');
    expect(chat.turns).toMatchObject([{ prompt: 'two', answer: { text: 'fine' } }]);
  });

  it('takes no end of an earlier answer for that of the present one', async () => {
    await send('one');
    chat.startOver();
    await send('two');
    expect(chat.isAnswering).toBe(true);
    expect(chat.turns).toMatchObject([{ prompt: 'two', answer: { status: { phase: 'preparing' } } }]);
  });

  it('is ready for the next question when it tells of the end', async () => {
    const ready: boolean[] = [];
    const generation = await send('one');
    chat.subscribe(() => ready.push(!chat.isAnswering));
    await generation.finish('end');
    expect(ready).toEqual([true]);
  });
});

describe('StreamAnnouncer', () => {
  it('says whole sentences, then the rest', async () => {
    const announcer = new StreamAnnouncer();
    const said: string[] = [];
    chat.subscribe((turns) => {
      const words = announcer.next(turns);
      if (words !== null) said.push(words);
    });
    const generation = await send('one');
    await generation.token('It is');
    await generation.token(' so. And');
    await generation.finish('It is so. And more');
    expect(said).toEqual(['It is so. ', 'And more']);
  });

  it('says how it ended', async () => {
    const announcer = new StreamAnnouncer();
    await (await send('one')).fail(new SkeinError('busy', 'full'));
    expect(announcer.next(chat.turns)).toBe('The tabs are busy. Try again in a moment.');
    expect(announcer.next(chat.turns)).toBeNull();
    await send('two');
    chat.stop();
    await settled();
    expect(announcer.next(chat.turns)).toBe('Stopped.');
  });
});

describe('sampling', () => {
  it.each([
    [
      { temperature: 5, maxTokens: 9999 },
      { temperature: 2, maxTokens: 2048 },
    ],
    [
      { temperature: -1, maxTokens: 0 },
      { temperature: 0, maxTokens: 1 },
    ],
    [
      { temperature: NaN, maxTokens: NaN },
      { temperature: 0.6, maxTokens: 256 },
    ],
    [
      { temperature: 0.7, maxTokens: 12.4 },
      { temperature: 0.7, maxTokens: 12 },
    ],
  ])('brings %o into range', (typed, clamped) => expect(clampSettings(typed, 2048)).toEqual(clamped));

  it('never allows more than a small model holds', () => {
    expect(clampSettings({ temperature: 1, maxTokens: NaN }, 100).maxTokens).toBe(100);
  });

  it('passes temperature and seed on', () => {
    expect(samplingParams({ temperature: 0, maxTokens: 5 }, 9)).toMatchObject({ temperature: 0, seed: 9 });
  });
});

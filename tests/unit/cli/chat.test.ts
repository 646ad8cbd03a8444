import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { diskFiles } from '../../../src/cli/chat/chat-files.ts';
import { ChatLoop } from '../../../src/cli/chat/chat-loop.ts';
import type { ChatDeps, ChatOutcome, ChatSettings } from '../../../src/cli/chat/chat-loop.ts';
import { loadConversation, messagesOf, saveConversation } from '../../../src/cli/chat/conversation.ts';
import { Interrupts } from '../../../src/cli/chat/interrupts.ts';
import { jsonScreen, plainScreen } from '../../../src/cli/chat/screens.ts';
import { parseSlash, questionOf, SLASH_HELP } from '../../../src/cli/chat/slash.ts';
import { colours } from '../../../src/cli/terminal.ts';
import type { GenerateEvent, GenerateResult } from '../../../src/client/generate.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { ModelId, PeerId, RequestId } from '../../../src/protocol/ids.ts';
import type { ChatMessage } from '../../../src/tokenizer/tokenizer.ts';
import { refusalOf } from '../../fixtures/errors.ts';

const RESULT: GenerateResult = {
  text: 'Hello you',
  tokenIds: [1, 2, 3],
  promptTokens: 5,
  cachedTokens: 0,
  finishReason: 'stop',
  timeToFirstTokenMs: 420,
  reroutes: [],
  droppedTokens: 0,
  tokensPerSecond: 10,
};
const PEER = '3f2a01'.padEnd(32, '0') as PeerId;
const ROUTE = {
  requestId: '0'.repeat(16) as RequestId,
  epoch: 0,
  model: 'tiny' as ModelId,
  hops: [{ peer: PEER, layerStart: 0, layerEnd: 8 }],
};

const token = (text: string): GenerateEvent => {
  return { type: 'token', tokenId: 1, logProbability: 0, topLogProbabilities: [], text };
};
const ANSWER: readonly GenerateEvent[] = [
  { type: 'queued', position: 3 },
  { type: 'route', route: ROUTE, reroute: null },
  token('Hello '),
  {
    type: 'resumed',
    reroutes: [{ epoch: 0, peer: PEER, code: 'peer-lost', phase: 'decoding', pauseMs: 420 }],
  },
  token('you'),
  { type: 'done', result: RESULT },
];

/** Everything that a chat shows and asks for. */
class Rig {
  readonly asked: { messages: readonly ChatMessage[]; settings: ChatSettings }[] = [];
  readonly notes: string[] = [];
  readonly outcomes: ChatOutcome[] = [];
  readonly kept = new Map<string, string>();
  written = '';
  answer: (signal: AbortSignal) => AsyncIterable<GenerateEvent> | Iterable<GenerateEvent> = () => ANSWER;
  readonly loop: ChatLoop;

  constructor(system: string | null = null) {
    const { asked, kept, notes, outcomes } = this;
    const hear = (signal: AbortSignal) => this.answer(signal);
    const deps: ChatDeps = {
      models: () => ['tiny', 'large'],
      async *answer(messages, settings, signal) {
        asked.push({ messages, settings });
        yield* hear(signal);
      },
      files: {
        write: (path, text) => Promise.resolve(void kept.set(path, text)),
        read: (path) => {
          const text = kept.get(path);
          return text === undefined ? Promise.reject(new Error(`no ${path}`)) : Promise.resolve(text);
        },
      },
      screen: {
        write: (text) => (this.written += text),
        endAnswer: () => (this.written += '|'),
        note: (line) => void notes.push(line),
        report: (outcome) => void outcomes.push(outcome),
      },
    };
    this.loop = new ChatLoop(deps, { model: 'tiny', temperature: 0.6, maxTokens: 64 }, system);
  }

  async take(...lines: readonly string[]): Promise<boolean> {
    let goesOn = true;
    for (const line of lines) goesOn = await this.loop.take(line);
    return goesOn;
  }

  get lastMessages(): readonly string[] {
    return this.asked.at(-1)?.messages.map(({ role, content }) => `${role}: ${content}`) ?? [];
  }
}

describe('slash commands', () => {
  it.each([
    ['/help', { name: 'help' }],
    ['  /quit  ', { name: 'quit' }],
    ['/exit', { name: 'quit' }],
    ['/system Be brief.', { name: 'system', argument: 'Be brief.' }],
    ['/system', { name: 'system', argument: null }],
    ['/model large', { name: 'model', argument: 'large' }],
    ['/save a file.json', { name: 'save', file: 'a file.json' }],
    ['/temperature 0.5', { name: 'temperature', value: 0.5 }],
    ['/max-tokens 9', { name: 'max-tokens', value: 9 }],
  ])('%s', (line, command) => {
    expect(parseSlash(line)).toEqual(command);
  });

  it.each([
    ['/save', 'Name a file'],
    ['/temperature', 'number from 0 to 100'],
    ['/temperature hot', 'number from 0 to 100'],
    ['/temperature -1', 'number from 0 to 100'],
    ['/max-tokens 0', 'whole number from 1'],
    ['/max-tokens 1.5', 'whole number from 1'],
    ['/new now', 'takes nothing'],
    ['/hlep', 'Did you mean /help?'],
    ['/temp 1', 'Did you mean /temperature?'],
    ['/zzzz', '/help lists'],
  ])('%s is wrong, and why', (line, words) => {
    const command = parseSlash(line);
    expect(command?.name).toBe('wrong');
    expect(JSON.stringify(command)).toContain(words);
  });

  it.each(['What is /etc?', '//etc/hosts', '/ etc', ''])('"%s" is none', (line) => {
    expect(parseSlash(line)).toBeNull();
  });

  it('leave a way to begin a question with a slash', () => {
    expect(questionOf('//etc/hosts ')).toBe('/etc/hosts');
    expect(questionOf(' plain ')).toBe('plain');
  });

  it('are all in the list', () => {
    for (const [usage] of SLASH_HELP) {
      const [name = ''] = usage.split(' ');
      const command = parseSlash(`${name} 1`);
      expect(JSON.stringify(command)).not.toContain('There is no');
    }
  });
});

describe('a chat', () => {
  it('streams answers, with notes beside them', async () => {
    const rig = new Rig();
    expect(await rig.take('Hi')).toBe(true);
    expect(rig.written).toBe('Hello you|');
    expect(rig.notes).toEqual([
      'Waiting: 2 answers before yours',
      'Tab 3f2a01 left: went on without it after 0.42 s',
      '3 tokens, 10.0 tokens/s, the first after 0.42 s',
    ]);
    expect(rig.outcomes).toEqual([{ kind: 'done', question: 'Hi', result: RESULT }]);
  });

  it('keeps the conversation, until a new one', async () => {
    const rig = new Rig('Be kind.');
    await rig.take('Hi', '', 'And?');
    expect(rig.lastMessages).toEqual(['system: Be kind.', 'user: Hi', 'assistant: Hello you', 'user: And?']);
    await rig.take('/new', 'Again');
    expect(rig.lastMessages).toEqual(['system: Be kind.', 'user: Again']);
    await rig.take('/system -', '/new', 'Bare');
    expect(rig.lastMessages).toEqual(['user: Bare']);
  });

  it('asks the last question again in place of its answer', async () => {
    const rig = new Rig();
    await rig.take('/retry');
    expect(rig.notes).toEqual(['There is no question yet.']);
    await rig.take('One', 'Two', '/retry');
    expect(rig.asked).toHaveLength(3);
    expect(rig.lastMessages).toEqual(['user: One', 'assistant: Hello you', 'user: Two']);
  });

  it('goes on with other settings and models that there are', async () => {
    const rig = new Rig();
    await rig.take('/temperature 0', '/max-tokens 7', '/model large', 'Hi', '/model none', '/model', 'Hi');
    expect(rig.asked.map(({ settings }) => settings)).toEqual([
      { model: 'large', temperature: 0, maxTokens: 7 },
      { model: 'large', temperature: 0, maxTokens: 7 },
    ]);
    expect(rig.notes).toContain('There is no model none. There are: tiny, large.');
    expect(rig.notes).toContain('large answers');
  });

  it('stops an answer, and keeps what was written', async () => {
    const rig = new Rig();
    rig.answer = async function* (signal) {
      yield token('Hel');
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
    };
    const asking = rig.take('Hi');
    while (!rig.written.includes('Hel')) await Promise.resolve();
    expect(rig.loop.isAnswering).toBe(true);
    rig.loop.stop();
    expect(await asking).toBe(true);
    expect(rig.loop.isAnswering).toBe(false);
    expect(rig.outcomes).toEqual([{ kind: 'stopped', question: 'Hi', text: 'Hel' }]);
    expect(rig.loop.failures).toBe(0);
    rig.answer = () => ANSWER;
    await rig.take('More');
    expect(rig.lastMessages).toEqual(['user: Hi', 'assistant: Hel', 'user: More']);
  });

  it('says why an answer failed, counts it, and can ask again', async () => {
    const rig = new Rig();
    rig.answer = () => {
      throw new SkeinError('no-route', 'Layers 4–7 are held by nobody.');
    };
    await rig.take('Hi');
    expect(rig.notes).toEqual(['Layers 4–7 are held by nobody.']);
    expect(rig.loop.failures).toBe(1);
    rig.answer = () => ANSWER;
    await rig.take('/retry');
    expect(rig.lastMessages).toEqual(['user: Hi']);
  });

  it('says that an answer was cut', async () => {
    const rig = new Rig();
    rig.answer = () => [{ type: 'done', result: { ...RESULT, finishReason: 'length' } }];
    await rig.take('Hi');
    expect(rig.notes.at(-1)).toContain('Cut at 3 tokens');
  });

  it('sums up', async () => {
    const rig = new Rig();
    await rig.take('/stats', 'Hi', 'Hi', '/stats');
    expect(rig.notes[0]).toBe('0 answers, 0 tokens');
    expect(rig.notes.slice(-2)).toEqual([
      '2 answers, 6 tokens, 10.0 tokens/s',
      'The last over 3f2a01 (layers 0–7)',
    ]);
  });

  it('keeps a conversation in a file and goes on with it', async () => {
    const rig = new Rig('Be kind.');
    await rig.take('/model large', 'Hi', '/save chat.json', '/model tiny', '/new', '/system -');
    await rig.take('/load chat.json', 'And?');
    expect(rig.lastMessages).toEqual(['system: Be kind.', 'user: Hi', 'assistant: Hello you', 'user: And?']);
    expect(rig.asked.at(-1)?.settings.model).toBe('large');
    await rig.take('/load none.json');
    expect(rig.notes.at(-1)).toBe('no none.json');
  });

  it('ends when the person says so', async () => {
    expect(await new Rig().take('/quit')).toBe(false);
  });

  it('takes a whole text for a question, whatever it begins with', async () => {
    const rig = new Rig();
    await rig.loop.ask('/quit is no command here');
    expect(rig.lastMessages).toEqual(['user: /quit is no command here']);
  });
});

describe('a kept conversation', () => {
  const conversation = { system: null, turns: [{ question: 'Hi', answer: '' }] };

  it('is what it was', () => {
    expect(loadConversation(saveConversation(conversation, 'tiny'))).toEqual({ conversation, model: 'tiny' });
    expect(messagesOf(conversation, 'Now?')).toEqual([{ role: 'user', content: 'Now?' }]);
  });

  it.each([
    '',
    '{}',
    '[]',
    '{"skeinChat":2,"model":"a","system":null,"turns":[]}',
    '{"skeinChat":1,"turns":[{}]}',
  ])('is not %s', async (json) => {
    expect((await refusalOf(() => loadConversation(json))).code).toBe('bad-argument');
  });

  describe('on the disk', () => {
    let folder = '';
    beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'skein-chat-'))));
    afterEach(() => rm(folder, { recursive: true }));

    it('is written over, and other files are not', async () => {
      const path = join(folder, 'chat.json');
      await diskFiles.write(path, saveConversation(conversation, 'tiny'));
      await diskFiles.write(path, saveConversation(conversation, 'large'));
      expect(loadConversation(await diskFiles.read(path)).model).toBe('large');
      const other = join(folder, 'letter.txt');
      await writeFile(other, 'Dear all');
      expect((await refusalOf(() => diskFiles.write(other, 'x'))).code).toBe('bad-argument');
      expect(await readFile(other, 'utf8')).toBe('Dear all');
    });
  });
});

describe('Ctrl-C', () => {
  function rigOf(isAnswering: boolean) {
    const done: string[] = [];
    const say = (word: string) => () => void done.push(word);
    const deps = {
      isAnswering: () => isAnswering,
      stopAnswer: say('stop'),
      warn: say('warn'),
      end: say('end'),
    };
    return { done, interrupts: new Interrupts(deps) };
  }

  it('stops an answer, and then ends', () => {
    const { done, interrupts } = rigOf(true);
    interrupts.press();
    interrupts.press();
    expect(done).toEqual(['stop', 'end']);
  });

  it('warns where there is no answer, and again after the next question', () => {
    const { done, interrupts } = rigOf(false);
    interrupts.press();
    interrupts.forget();
    interrupts.press();
    interrupts.press();
    expect(done).toEqual(['warn', 'warn', 'end']);
  });
});

describe('screens', () => {
  const output = () => {
    const texts: string[] = [];
    return { texts, write: (text: string | Uint8Array) => texts.push(String(text)) > 0 };
  };

  it('end the line of an answer before a note, on one output', () => {
    const both = output();
    const screen = plainScreen(both, both, colours({ isTTY: true }, {}));
    screen.write('Hel');
    screen.note('left');
    screen.write('lo\n');
    screen.endAnswer();
    expect(both.texts.join('')).toBe('Hel\n\u001b[2mleft\u001b[0m\nlo\n');
  });

  it('keep notes out of answers on two', () => {
    const [answers, notes] = [output(), output()];
    const screen = plainScreen(answers, notes, colours({}));
    screen.write('Hel');
    screen.note('left');
    screen.write('lo');
    screen.endAnswer();
    expect(answers.texts.join('')).toBe('Hello\n');
    expect(notes.texts.join('')).toBe('left\n');
  });

  it('tell programs one object a line', () => {
    const [answers, notes] = [output(), output()];
    const screen = jsonScreen(answers, notes);
    screen.write('Hel');
    screen.report({ kind: 'done', question: 'Hi', result: RESULT });
    screen.report({ kind: 'stopped', question: 'Hi', text: 'Hel' });
    const error = new SkeinError('busy', 'full');
    screen.report({ kind: 'failed', question: 'Hi', text: '', error });
    const objects = answers.texts.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(objects).toMatchObject([
      { question: 'Hi', text: 'Hello you', finishReason: 'stop', tokens: 3, tokensPerSecond: 10 },
      { text: 'Hel', finishReason: 'stopped' },
      { finishReason: 'failed', error: { code: 'busy' } },
    ]);
  });
});

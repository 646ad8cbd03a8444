import { describe, expect, it } from 'vitest';
import { answerChat, answerChats } from '../../../../src/client/api/answer-chat.ts';
import type { AnswerEvent } from '../../../../src/client/api/answer-events.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import { sampling } from '../../../../src/protocol/sampling.ts';
import { Tokenizer } from '../../../../src/tokenizer/tokenizer.ts';
import { refusalOf } from '../../../fixtures/errors.ts';
import { MemorySource } from '../../../fixtures/memory-source.ts';
import { settled } from '../../mesh/local-mesh.ts';
import { readFile } from 'node:fs/promises';
import { all, CONTEXT_TOKENS, query, ScriptedMesh, spoken, TINY } from './scripted-mesh.ts';

const HELLO = '<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n';
const ADD = {
  name: 'add',
  parameters: { type: 'object', properties: { a: { type: 'number' } }, required: ['a'] },
};
const call = (name: string, json: string) =>
  `<tool_call>\n{"name": "${name}", "arguments": ${json}}\n</tool_call>`;
const ofType = <Type extends AnswerEvent['type']>(events: readonly AnswerEvent[], type: Type) =>
  events.filter((event): event is Extract<AnswerEvent, { type: Type }> => event.type === type);

/** A tokenizer with skein-tiny's vocabulary and another template. */
async function withTemplate(template: string, special: readonly string[] = []): Promise<Tokenizer> {
  const read = async (name: string) =>
    JSON.parse(await readFile(`public/models/skein-tiny/${name}`, 'utf8')) as Record<string, unknown>;
  const json = await read('tokenizer.json');
  const added = special.map((content, index) => ({
    id: 3000 + index,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  return Tokenizer.load(
    new MemorySource({
      'tokenizer.json': { ...json, added_tokens: [...(json['added_tokens'] as object[]), ...added] },
      'tokenizer_config.json': { chat_template: template },
      'generation_config.json': { eos_token_id: 2047 },
    }),
  );
}
const MESSAGES = '{% for m in messages %}{{ m.content }}|{% endfor %}';
const QWEN = `${MESSAGES}{% if tools %}<tool_call>{% endif %}{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}`;

describe('an answer', () => {
  it('is text with what it took, to a conversation in the words of the template', async () => {
    const mesh = new ScriptedMesh(() => 'Hi there.');
    const events = await all(answerChat(query(), mesh.model()));
    expect(spoken(events)).toBe('Hi there. stop');
    const promptTokens = TINY.encode(HELLO).length;
    expect(events[0]).toEqual({ type: 'prompt', tokens: promptTokens });
    expect(events.at(-1)).toEqual({
      type: 'done',
      usage: {
        promptTokens,
        cachedTokens: 0,
        completionTokens: TINY.encode('Hi there.').length + 1,
        reasoningTokens: 0,
      },
    });
    expect(ofType(events, 'end')[0]?.result.text).toBe('Hi there.');
    expect(ofType(events, 'progress').map(({ progress }) => progress.type)).toEqual(['route']);
    expect(mesh.opened[0]?.constraint ?? null).toBeNull();
    expect(mesh.mesh.openRequests).toBe(0);
  });

  it('goes on from a plain text, and takes nothing in it for thoughts or calls', async () => {
    const tokenizer = await withTemplate(QWEN);
    const said = `<think>x</think>${call('add', '{}')}`;
    const mesh = new ScriptedMesh(() => said, tokenizer);
    const events = await all(answerChat(query({ prompt: { kind: 'text', text: 'Once' } }), mesh.model()));
    expect(spoken(events)).toBe(`${said} stop`);
    expect(mesh.opened[0]?.promptTokens).toBe(TINY.encode('Once').length);
  });

  it('ends at its longest, in the middle of what might have become a stop string', async () => {
    const mesh = new ScriptedMesh(() => 'aEN');
    const events = await all(answerChat(query({ maxTokens: 3, stopStrings: ['END'] }), mesh.model()));
    expect(spoken(events)).toBe('aEN length');
  });

  it('ends before a stop string, and says which', async () => {
    const mesh = new ScriptedMesh(() => 'one two three');
    const events = await all(answerChat(query({ stopStrings: ['nope', ' tw'] }), mesh.model()));
    expect(spoken(events)).toBe('one stop');
    expect(ofType(events, 'end')[0]).toMatchObject({ stopString: ' tw', result: { text: 'one' } });
    expect(mesh.mesh.openRequests).toBe(0);
  });
});

describe('calls', () => {
  it('are told with ids, and their arguments as they come', async () => {
    const said = `One moment.\n${call('add', '{"a": 12}')}\n${call('add', '{"a": 3}')}`;
    const mesh = new ScriptedMesh(() => said);
    const events = await all(answerChat(query({ tools: [ADD] }), mesh.model()));
    expect(spoken(events)).toBe('One moment.[add]{"a": 12}[add]{"a": 3} tool-calls');
    const ids = ofType(events, 'tool-call').map(({ id }) => id);
    expect(new Set(ids).size).toBe(2);
    for (const id of ids) expect(id).toMatch(/^call_[0-9a-f]{24}$/);
    expect(ofType(events, 'tool-arguments').length).toBeGreaterThan(4);
    const structural = JSON.parse(mesh.opened[0]?.constraint?.structuralTag ?? '') as object;
    expect(structural).toMatchObject({ format: { type: 'triggered_tags', triggers: ['<tool_call>'] } });
  });

  it('are announced to the model in the form of the template', async () => {
    const mesh = new ScriptedMesh(() => 'x');
    const [prompt] = await all(answerChat(query({ tools: [ADD] }), mesh.model()));
    const tool = { type: 'function', function: ADD };
    const text = TINY.renderChat([{ role: 'user', content: 'Hello' }], { tools: [tool] });
    expect(text).toContain('"name": "add"');
    expect(prompt).toEqual({ type: 'prompt', tokens: TINY.encode(text).length });
  });

  it('are none where the caller wants none', async () => {
    const mesh = new ScriptedMesh(() => call('add', '{}'));
    const events = await all(answerChat(query({ tools: [ADD], toolChoice: { kind: 'none' } }), mesh.model()));
    expect(spoken(events)).toBe(`${call('add', '{}')} stop`);
    expect(events[0]).toEqual({ type: 'prompt', tokens: TINY.encode(HELLO).length });
  });

  it('end the answer after the first where there may be one only', async () => {
    const mesh = new ScriptedMesh(() => `${call('add', '{}')}\n${call('add', '{}')}`);
    const events = await all(answerChat(query({ tools: [ADD], isParallel: false }), mesh.model()));
    expect(spoken(events)).toBe('[add]{} tool-calls');
  });

  it('that break off at the longest answer say so', async () => {
    const mesh = new ScriptedMesh(() => call('add', '{"a": 12}'));
    const maxTokens = TINY.encode('<tool_call>\n{"name": "add", "arguments": {"a"').length;
    const events = await all(answerChat(query({ tools: [ADD], maxTokens }), mesh.model()));
    expect(spoken(events)).toMatch(/^\[add\]\{"a":? length$/);
  });

  it('are refused of a model whose template knows none', async () => {
    const mesh = new ScriptedMesh(() => 'x', await withTemplate(MESSAGES));
    const refusal = await refusalOf(() => all(answerChat(query({ tools: [ADD] }), mesh.model())));
    expect(refusal).toMatchObject({ code: 'bad-argument', data: { param: 'tools' } });
    expect(mesh.opened).toEqual([]);
  });

  it('are seen where their marks are special tokens, which are not shown elsewhere', async () => {
    const tokenizer = await withTemplate(QWEN, ['<tool_call>', '</tool_call>', '<|other|>']);
    const mesh = new ScriptedMesh(() => `<|other|>Hi${call('add', '{}')}`, tokenizer);
    const events = await all(answerChat(query({ tools: [ADD] }), mesh.model()));
    expect(spoken(events)).toBe('Hi[add]{} tool-calls');
  });
});

describe('thoughts', () => {
  it('are told apart from the answer, and counted', async () => {
    const tokenizer = await withTemplate(QWEN, ['<think>', '</think>']);
    const mesh = new ScriptedMesh(() => '<think>\nab\n</think>\n\nFour.', tokenizer);
    const events = await all(answerChat(query(), mesh.model()));
    expect(spoken(events)).toBe('(ab)Four. stop');
    const { length } = tokenizer.encode('\nab\n');
    expect(ofType(events, 'done')[0]?.usage.reasoningTokens).toBe(length);
  });

  it('are begun by the prompt of some models', async () => {
    const mesh = new ScriptedMesh(
      () => 'ab</think>Four.',
      await withTemplate(`${MESSAGES}<think>\n{# </think> #}`),
    );
    expect(spoken(await all(answerChat(query(), mesh.model())))).toBe('(ab)Four. stop');
  });

  it.each<[string, string, boolean | null, string]>([
    ['left out by the switch of the template', QWEN, false, 'Hello|<think>\n\n</think>\n\n'],
    ['left to the template', QWEN, null, 'Hello|'],
    ['wanted', QWEN, true, 'Hello|'],
    [
      'ended where the template begins them',
      `${MESSAGES}<think>\n{# </think> #}`,
      false,
      'Hello|<think>\n\n</think>\n\n',
    ],
    [
      'begun and ended where the template has no switch',
      `${MESSAGES}{# <think></think> #}`,
      false,
      'Hello|<think>\n\n</think>\n\n',
    ],
    ['unknown', MESSAGES, false, 'Hello|'],
  ])('are %s', async (_, template, thinks, text) => {
    const tokenizer = await withTemplate(template);
    const mesh = new ScriptedMesh(() => 'x', tokenizer);
    const [prompt] = await all(answerChat(query({ thinks }), mesh.model()));
    expect(prompt).toEqual({ type: 'prompt', tokens: tokenizer.encode(text).length });
  });

  it('are left free by what the answer has to keep to', async () => {
    const tokenizer = await withTemplate(QWEN);
    const mesh = new ScriptedMesh(() => '{}', tokenizer);
    const formatOf = async (thinks: boolean) => {
      await all(answerChat(query({ thinks, shape: { kind: 'json-object' } }), mesh.model()));
      const tag = JSON.parse(mesh.opened.at(-1)?.constraint?.structuralTag ?? '') as {
        format: { type: string };
      };
      return tag.format.type;
    };
    expect(await formatOf(true)).toBe('or');
    expect(await formatOf(false)).toBe('json_schema');
  });
});

describe('log-probabilities', () => {
  it('come with the text, token by token, with their bytes', async () => {
    const mesh = new ScriptedMesh(() => 'é🙂 ok');
    const scored = query({ scoresTokens: true, sampling: sampling({ topLogProbabilities: 2 }) });
    const events = await all(answerChat(scored, mesh.model()));
    const tokens = ofType(events, 'text').flatMap((event) => event.tokens);
    const ids = TINY.encode('é🙂 ok');
    expect(tokens.map(({ tokenId }) => tokenId)).toEqual(ids);
    expect(tokens.flatMap(({ bytes }) => bytes)).toEqual([...new TextEncoder().encode('é🙂 ok')]);
    expect(tokens.map(({ logProbability }) => logProbability)).toEqual(ids.map((_, index) => -0.5 - index));
    expect(tokens[0]?.top).toEqual([
      { tokenId: 65, logProbability: -1, text: 'A', bytes: [65] },
      { tokenId: 66, logProbability: -2, text: 'B', bytes: [66] },
    ]);
  });

  it('are those of the text alone, without what a stop string cut off', async () => {
    const tokenizer = await withTemplate(QWEN);
    const mesh = new ScriptedMesh(
      () => `<think>no</think>\n\nyes\n${call('add', '{}')} and END no`,
      tokenizer,
    );
    const scored = query({ scoresTokens: true, stopStrings: ['END'], tools: [ADD] });
    const events = await all(answerChat(scored, mesh.model()));
    expect(spoken(events)).toBe('(no)yes[add]{} and  tool-calls');
    const bytes = ofType(events, 'text').flatMap((event) => event.tokens.flatMap((token) => token.bytes));
    // Tokens that are partly text count: nothing of the marks, the thoughts or the call.
    expect(new TextDecoder().decode(Uint8Array.from(bytes)).trim()).toMatch(/^yes\s+and( E)?$/);
  });

  it('are left out where nobody wants them', async () => {
    const events = await all(answerChat(query(), new ScriptedMesh(() => 'Hi').model()));
    expect(ofType(events, 'text').flatMap(({ tokens }) => tokens)).toEqual([]);
  });
});

describe('several answers', () => {
  it('have seeds of their own, and come side by side', async () => {
    const mesh = new ScriptedMesh(({ sampling: { seed } }) => `answer ${seed} `.repeat(6));
    const events = await all(
      answerChat(query({ choices: 3, sampling: sampling({ seed: 0xffff_ffff }) }), mesh.model()),
    );
    expect([0, 1, 2].map((choice) => spoken(events, choice))).toEqual([
      `${'answer 4294967295 '.repeat(6)} stop`,
      `${'answer 0 '.repeat(6)} stop`,
      `${'answer 1 '.repeat(6)} stop`,
    ]);
    // No choice is more than a few pieces ahead of another while both go on.
    const counts = [0, 0, 0];
    for (const event of ofType(events, 'text')) {
      counts[event.choice] = (counts[event.choice] ?? 0) + 1;
      if (Math.min(...counts) < 12) expect(Math.max(...counts) - Math.min(...counts)).toBeLessThan(6);
    }
    const promptTokens = TINY.encode(HELLO).length;
    expect(events.at(-1)).toMatchObject({ type: 'done', usage: { promptTokens } });
  });

  it('to several questions are numbered over all of them', async () => {
    const mesh = new ScriptedMesh(({ promptTokens }) => `${promptTokens}`);
    const asked = ['a', 'b c d'].map((text) => query({ prompt: { kind: 'text', text }, choices: 2 }));
    const events = await all(answerChats(asked, mesh.model()));
    const lengths: [number, number] = [1, TINY.encode('b c d').length];
    expect([0, 1, 2, 3].map((choice) => spoken(events, choice))).toEqual(
      [lengths[0], lengths[0], lengths[1], lengths[1]].map((length) => `${length} stop`),
    );
    expect(events.at(-1)).toMatchObject({ usage: { promptTokens: lengths[0] + lengths[1] } });
  });

  it('all end when one of them fails, also those that wait for a route', async () => {
    const mesh = new ScriptedMesh(() => 'word '.repeat(60));
    let routes = 0;
    const deps = mesh.mesh.deps({
      tokenizer: TINY,
      requestRoute: (routeQuery) => {
        routes += 1;
        if (routes === 2) return Promise.reject(new SkeinError('bad-argument', 'no such thing'));
        if (routes === 3) return new Promise<never>(() => undefined);
        return Promise.resolve({ ...routeQuery, hops: mesh.mesh.hops([]) });
      },
    });
    const refusal = await refusalOf(() => all(answerChat(query({ choices: 3 }), mesh.model({ deps }))));
    expect(refusal).toMatchObject({ code: 'bad-argument', message: 'no such thing' });
    await settled();
    expect(mesh.mesh.openRequests).toBe(0);
  });
});

describe('an answer that nobody waits for', () => {
  const longAnswer = () => new ScriptedMesh(() => 'word '.repeat(100));

  it('ends on every stage when the reader goes', async () => {
    const mesh = longAnswer();
    for await (const event of answerChat(query({ choices: 3 }), mesh.model())) {
      if (event.type === 'text') break;
    }
    await settled();
    expect(mesh.opened.length).toBe(3);
    expect(mesh.mesh.openRequests).toBe(0);
  });

  it('ends at once when its signal fires', async () => {
    const mesh = longAnswer();
    const controller = new AbortController();
    const reading = (async () => {
      for await (const event of answerChat(query({ choices: 2 }), mesh.model(), controller.signal)) {
        if (event.type === 'text') controller.abort();
      }
    })();
    expect(await refusalOf(() => reading)).toMatchObject({ code: 'aborted' });
    await settled();
    expect(mesh.mesh.openRequests).toBe(0);
  });

  it('is not begun where the signal has fired before', async () => {
    const mesh = longAnswer();
    const refusal = await refusalOf(() => all(answerChat(query(), mesh.model(), AbortSignal.abort())));
    expect(refusal.code).toBe('aborted');
    expect(mesh.opened).toEqual([]);
  });
});

describe('a question', () => {
  const refused = async (changes: Parameters<typeof query>[0], check?: () => Promise<void>) => {
    const mesh = new ScriptedMesh(() => 'x');
    const model = mesh.model(check === undefined ? {} : { checkStructuralTag: check });
    const refusal = await refusalOf(() => all(answerChat(query(changes), model)));
    expect(mesh.opened).toEqual([]);
    return refusal;
  };
  const saying = (content: string) => ({
    prompt: { kind: 'chat' as const, messages: [{ role: 'user' as const, content }] },
  });

  it.each<[string, Parameters<typeof query>[0], object]>([
    [
      'too long to be encoded',
      saying('a'.repeat(CONTEXT_TOKENS * 128 + 1)),
      { param: 'messages', apiCode: 'context_length_exceeded' },
    ],
    [
      'longer than the mesh holds',
      saying('a '.repeat(CONTEXT_TOKENS)),
      { param: 'messages', apiCode: 'context_length_exceeded' },
    ],
    [
      'of a plain text that is too long',
      { prompt: { kind: 'text', text: 'a '.repeat(CONTEXT_TOKENS) } },
      { param: 'prompt', apiCode: 'context_length_exceeded' },
    ],
    ['empty', { prompt: { kind: 'text', text: '' } }, { param: 'prompt' }],
    ['of unknown tokens', { prompt: { kind: 'ids', ids: [1, 2048] } }, { param: 'prompt' }],
    [
      'with a bias for an unknown token',
      { sampling: sampling({ logitBias: [[4000, 1]] }) },
      { param: 'logit_bias' },
    ],
    [
      'for more tokens than there is room for',
      { sampling: sampling({ minTokens: CONTEXT_TOKENS }) },
      { param: 'min_tokens' },
    ],
    [
      'whose schema makes too large a grammar',
      { shape: { kind: 'json-schema', schema: { enum: ['x'.repeat(70_000)] } } },
      { param: 'response_format' },
    ],
  ])('is refused that is %s', async (_, changes, data) => {
    expect(await refused(changes)).toMatchObject({ code: 'bad-argument', data });
  });

  it('is refused whose grammar is no good, and its parameter is named', async () => {
    const check = () => Promise.reject(new SkeinError('bad-argument', 'no such type'));
    const shape = { kind: 'json-object' } as const;
    expect(await refused({ shape }, check)).toMatchObject({
      message: 'no such type',
      data: { param: 'response_format' },
    });
    expect(await refused({ tools: [ADD] }, check)).toMatchObject({ data: { param: 'tools' } });
  });

  it('is refused where its tools take something else than an object', async () => {
    const tools = [{ name: 'add', parameters: { type: 'string' } }];
    expect(await refused({ tools })).toMatchObject({ data: { param: 'tools' } });
  });
});

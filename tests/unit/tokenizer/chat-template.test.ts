import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { Tokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { refusalOf } from '../../fixtures/errors.ts';
import { MemorySource } from '../../fixtures/memory-source.ts';
import type { ChatMessage } from '../../../src/tokenizer/tokenizer.ts';
import type { Golden } from '../../golden/golden-file.ts';

const FOLDER = 'public/models/skein-tiny';
const golden = JSON.parse(await readFile(`${FOLDER}/golden.json`, 'utf8')) as Golden;
const tokenizerJson = await readFile(`${FOLDER}/tokenizer.json`, 'utf8');
const tiny = await Tokenizer.load(new FolderSource(FOLDER));

const HELLO: ChatMessage[] = [{ role: 'user', content: 'Hello' }];

const withFiles = (files: Record<string, string | object>) =>
  Tokenizer.load(new MemorySource({ 'tokenizer.json': tokenizerJson, ...files }));
const withTemplate = (chat_template: unknown, more: object = {}) =>
  withFiles({ 'tokenizer_config.json': { chat_template, ...more } });

/** Reads a rendered conversation back into what it was rendered from. */
function parseRendered(text: string): { tools: object[]; messages: ChatMessage[] } {
  const turns = [...text.matchAll(/<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>\n/gs)];
  const tools: object[] = [];
  const messages = turns.flatMap(([, role = '', content = '']): ChatMessage[] => {
    const toolList = /# Tools\n<tools>\n(.*)<\/tools>$/s.exec(content)?.[1];
    if (toolList === undefined) {
      const result = /^<tool_response>\n(.*)\n<\/tool_response>$/s.exec(content)?.[1];
      return result === undefined
        ? [{ role: role as ChatMessage['role'], content }]
        : [{ role: 'tool', content: result }];
    }
    tools.push(
      ...toolList
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    );
    return [];
  });
  return { tools, messages };
}

describe('the chat template of skein-tiny', () => {
  it('writes every held-out conversation as the training program did, tools with the spaces of Python', () => {
    const rendered = golden.heldout.texts.map((text) => {
      const { tools, messages } = parseRendered(text);
      return tiny.renderChat(messages, { tools, addGenerationPrompt: false });
    });
    expect(rendered).toEqual(golden.heldout.texts);
    expect(golden.heldout.texts.filter((text) => text.includes('# Tools')).length).toBeGreaterThan(2);
  });

  it('writes the calls of tools', () => {
    const text = tiny.renderChat(
      [
        {
          role: 'assistant',
          content: '',
          tool_calls: [{ type: 'function', function: { name: 'add', arguments: { a: 1, b: [2, 'é'] } } }],
        },
      ],
      { addGenerationPrompt: false },
    );
    expect(text).toBe(
      '<|im_start|>assistant\n<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": [2, "é"]}}\n</tool_call><|im_end|>\n',
    );
  });

  it('ends where the model is to answer, unless told not to', () => {
    const whole = '<|im_start|>user\nHello<|im_end|>\n';
    expect(tiny.renderChat(HELLO)).toBe(`${whole}<|im_start|>assistant\n`);
    expect(tiny.renderChat(HELLO, { addGenerationPrompt: false })).toBe(whole);
  });
});

describe('chat templates', () => {
  it('know the special tokens, in either form, and the variables given', async () => {
    const tokenizer = await withTemplate(
      '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ mood }}{{ pad_token is defined }}',
      {
        bos_token: '<s>',
        eos_token: { content: '</s>', lstrip: false },
        pad_token: null,
      },
    );
    expect(tokenizer.renderChat(HELLO, { variables: { mood: '!' } })).toBe('<s>Hello</s>!false');
  });

  it('are not told of tools where none are given', async () => {
    const tokenizer = await withTemplate('{{ tools is defined }}');
    expect(tokenizer.renderChat(HELLO, { tools: [] })).toBe('false');
    expect(tokenizer.renderChat(HELLO, { tools: [{ type: 'function' }] })).toBe('true');
  });

  it('may come as a list, of which the default counts', async () => {
    const tokenizer = await withTemplate([
      { name: 'tool_use', template: 'tools' },
      { name: 'default', template: 'default {{ messages[0].content }}' },
    ]);
    expect(tokenizer.renderChat(HELLO)).toBe('default Hello');
  });

  it('may come as a file of its own', async () => {
    const tokenizer = await withFiles({ 'chat_template.jinja': 'file {{ messages[0].content }}' });
    expect(tokenizer.renderChat(HELLO)).toBe('file Hello');
  });

  it('are missed when there are none', async () => {
    const tokenizer = await withFiles({});
    expect(await refusalOf(() => tokenizer.renderChat(HELLO))).toMatchObject({
      code: 'model-unsupported',
      data: { field: 'chat_template' },
    });
  });

  it('are refused when they cannot be read, once somebody chats', async () => {
    const tokenizer = await withTemplate('{% if %}');
    expect(tokenizer.encode('a')).toHaveLength(1);
    expect(await refusalOf(() => tokenizer.renderChat(HELLO))).toMatchObject({
      code: 'model-unsupported',
      data: { file: 'memory/tokenizer_config.json', field: 'chat_template' },
    });
  });

  it('may refuse a conversation, in their own words', async () => {
    const tokenizer = await withTemplate("{{ raise_exception('roles must alternate') }}");
    const refusal = await refusalOf(() => tokenizer.renderChat(HELLO));
    expect(refusal.code).toBe('bad-argument');
    expect(refusal.message).toContain('roles must alternate');
  });
});

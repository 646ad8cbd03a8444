import { describe, expect, it } from 'vitest';
import type { JsonSchema, ToolChoice } from '../../../../src/client/api/chat-query.ts';
import { structuralTag } from '../../../../src/client/api/structural-tag.ts';
import type { TagOptions } from '../../../../src/client/api/structural-tag.ts';
import { loadXgrammar } from '../../../../src/grammar/xgrammar.ts';

const CALLS = { open: '<tool_call>', close: '</tool_call>' };
const THOUGHTS = { open: '<think>', close: '</think>' };
const NUMBER: JsonSchema = {
  type: 'object',
  properties: { a: { type: 'number' } },
  required: ['a'],
  additionalProperties: false,
};

const { library } = await loadXgrammar();
/** For tests alone, so that the part of the library that is used has no such thing. */
const { Testings } = library as unknown as {
  Testings: { isGrammarAcceptString(grammar: unknown, text: string): Promise<boolean> };
};

const anything: TagOptions = {
  query: { toolChoice: { kind: 'auto' }, isParallel: true, shape: { kind: 'text' } },
  tools: [],
  calls: CALLS,
  reasoning: null,
  startsInReasoning: false,
};
const tools = [{ name: 'add', parameters: NUMBER }, { name: 'get_time' }];
const auto: TagOptions = { ...anything, tools };
const choosing = (toolChoice: ToolChoice, isParallel = true): TagOptions => ({
  ...auto,
  query: { ...auto.query, toolChoice, isParallel },
});
const inJson = (options: TagOptions, schema?: JsonSchema): TagOptions => ({
  ...options,
  query: {
    ...options.query,
    shape: schema === undefined ? { kind: 'json-object' } : { kind: 'json-schema', schema },
  },
});
const mayThink = (options: TagOptions): TagOptions => ({ ...options, reasoning: THOUGHTS });
const thinks = (options: TagOptions): TagOptions => ({ ...mayThink(options), startsInReasoning: true });

const call = (name: string, json: string) =>
  `<tool_call>\n{"name": "${name}", "arguments": ${json}}\n</tool_call>`;
const ADD = call('add', '{"a": 1}');
const TIME = call('get_time', '{"zone": [1]}');

describe('what answers have to keep to', () => {
  it('is nothing where nothing is asked for', () => {
    expect(structuralTag(anything)).toBeNull();
    expect(structuralTag({ ...auto, tools: [] })).toBeNull();
    expect(structuralTag(mayThink(anything))).toBeNull();
  });

  it.each<[string, TagOptions, readonly string[], readonly string[]]>([
    [
      'anything, and calls that fit, where the model chooses',
      auto,
      ['', 'Hello', ADD, `One moment.\n${ADD}\n${TIME} Done.`],
      [call('drop', '{}'), call('add', '{"b": 1}'), call('add', '{'), '<tool_call>', `${ADD}\n<tool_call>x`],
    ],
    [
      'one call, where there may be one only',
      choosing({ kind: 'auto' }, false),
      ['Hello', ADD, `One moment.\n${TIME}`],
      [`${ADD}\n${TIME}`],
    ],
    [
      'calls and nothing else, where one is required',
      choosing({ kind: 'required' }),
      [ADD, `${ADD}\n${TIME}`],
      ['', 'Hello', `One moment.\n${ADD}`, `${ADD} Done.`, `${ADD}\n`],
    ],
    [
      'one call, where one is required',
      choosing({ kind: 'required' }, false),
      [ADD, TIME],
      [`${ADD}\n${TIME}`],
    ],
    [
      'calls of the named function',
      choosing({ kind: 'named', name: 'add' }),
      [ADD, `${ADD}\n${ADD}`],
      [TIME, `${ADD}\n${TIME}`, 'Hello'],
    ],
    [
      'any object of JSON',
      inJson(anything),
      ['{}', '{"a": [1, {"b": null}], "c": "é"}'],
      ['', 'Hello', '[1]', '"a"', '{"a": }', '{} x', '{}{}'],
    ],
    [
      'JSON by its schema',
      inJson(anything, NUMBER),
      ['{"a": -1.5}'],
      ['{}', '{"a": "1"}', '{"a": 1, "b": 2}'],
    ],
    [
      'JSON or a call',
      inJson(auto, NUMBER),
      ['{"a": 1}', ADD, TIME],
      ['Hello', `{"a": 1}${ADD}`, call('drop', '{}')],
    ],
    [
      'the same after thoughts, which are free',
      mayThink(auto),
      ['Hello', ADD, `<think>\n<tool_call> or {?\n</think>\n\nHello ${ADD}`, '<think>x</think>\n\n'],
      [`<think>x</think>\n\n${call('drop', '{}')}`],
    ],
    [
      'JSON after thoughts',
      mayThink(inJson(anything)),
      ['{}', '<think>\nan {object\n</think>\n\n{"a": 1}'],
      ['<think>x</think>', '<think>x</think>\n\nHello', '<think>x', 'x</think>\n\n{}'],
    ],
    [
      'JSON after thoughts that the prompt has begun',
      thinks(inJson(anything)),
      ['\nan {object\n</think>\n\n{"a": 1}', '</think>\n\n{}'],
      ['{}', 'x</think>\n\nHello'],
    ],
    [
      'a call after thoughts that the prompt has begun',
      thinks(choosing({ kind: 'required' })),
      [`Hm.\n</think>\n\n${ADD}\n${TIME}`],
      [ADD, 'Hm.\n</think>\n\nHello'],
    ],
    [
      'JSON or a call after thoughts',
      thinks(inJson(auto)),
      [`x</think>\n\n${ADD}`, 'x</think>\n\n{}'],
      [ADD, '{}'],
    ],
  ])('is %s', async (_, options, kept, broken) => {
    const grammar = await library.Grammar.fromStructuralTag(structuralTag(options) ?? '');
    const accepted = async (texts: readonly string[]) => {
      const verdicts: string[] = [];
      for (const text of texts) if (await Testings.isGrammarAcceptString(grammar, text)) verdicts.push(text);
      return verdicts;
    };
    expect(await accepted(kept)).toEqual(kept);
    expect(await accepted(broken)).toEqual([]);
    grammar.dispose();
  });
});

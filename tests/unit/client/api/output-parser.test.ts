import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OutputParser } from '../../../../src/client/api/output-parser.ts';
import type { OutputParserOptions, OutputPart } from '../../../../src/client/api/output-parser.ts';

const THINK = { open: '<think>', close: '</think>' };
const CALL = { open: '<tool_call>', close: '</tool_call>' };

const plain: OutputParserOptions = {
  reasoning: null,
  startsInReasoning: false,
  calls: null,
  toolNames: new Set(),
  isParallel: true,
  stopStrings: [],
};
const withTools: OutputParserOptions = { ...plain, calls: CALL, toolNames: new Set(['add', 'get_time']) };
const thinking: OutputParserOptions = { ...withTools, reasoning: THINK };

/** Parts of the same passage put together, as readers do. */
function joined(parts: readonly OutputPart[]) {
  const passages: { type: string; text: string; index?: number }[] = [];
  for (const part of parts) {
    const last = passages.at(-1);
    const text =
      part.type === 'tool-call' ? part.name : part.type === 'tool-arguments' ? part.json : part.text;
    const index = 'index' in part ? { index: part.index } : {};
    if (last?.type === part.type && last.index === index.index) last.text += text;
    else passages.push({ type: part.type, text, ...index });
  }
  return passages;
}

function parse(options: OutputParserOptions, pieces: readonly string[]) {
  const parser = new OutputParser(options);
  const parts = [...pieces.flatMap((piece) => parser.push(piece)), ...parser.end()];
  return { parser, passages: joined(parts), parts };
}
const passagesOf = (options: OutputParserOptions, text: string) => parse(options, [text]).passages;
const said = (text: string) => ({ type: 'text', text });
const thought = (text: string) => ({ type: 'reasoning', text });
const called = (index: number, name: string, json: string) => [
  { type: 'tool-call', text: name, index },
  { type: 'tool-arguments', text: json, index },
];
const call = (name: string, json: string) =>
  `<tool_call>\n{"name": "${name}", "arguments": ${json}}\n</tool_call>`;

describe('the output of a model', () => {
  it('is text where nothing else is looked for', () => {
    const text = ` <think>\n${call('add', '{}')} x\n`;
    expect(passagesOf(plain, text)).toEqual([said(text)]);
  });

  it.each<[string, string, ReturnType<typeof passagesOf>]>([
    [
      'thoughts, then an answer',
      '<think>\nHm.\n\nYes.\n</think>\n\nFour.',
      [thought('Hm.\n\nYes.'), said('Four.')],
    ],
    ['space before thoughts', '\n<think>a</think>b', [thought('a'), said('b')]],
    ['no thoughts between marks', '<think>\n\n</think>\n\nFour.', [said('Four.')]],
    ['thoughts that break off', '<think>\nHm. \n', [thought('Hm.')]],
    ['an answer at once', '  Four <think> is text.\n', [said('  Four <think> is text.\n')]],
    ['what begins as a mark', '<thin', [said('<thin')]],
    ['what begins as a mark twice', '<<think>x', [said('<<think>x')]],
    ['calls among thoughts', `<think>${call('add', '{}')}</think>x`, [thought(call('add', '{}')), said('x')]],
    ['space alone', ' \n', [said(' \n')]],
  ])('tells apart %s', (_, text, passages) => {
    expect(passagesOf(thinking, text)).toEqual(passages);
  });

  it('begins with thoughts where the prompt has opened them', () => {
    const opened = { ...thinking, startsInReasoning: true };
    expect(passagesOf(opened, 'Hm.\n</think>\n\nFour.')).toEqual([thought('Hm.'), said('Four.')]);
    expect(passagesOf(opened, 'Hm.')).toEqual([thought('Hm.')]);
  });

  it.each<[string, string, ReturnType<typeof passagesOf>]>([
    ['a call', call('add', '{"a": 1}'), called(0, 'add', '{"a": 1}')],
    [
      'several calls in a row',
      `${call('add', '{"a": {"b": [1, "}"]}}')}\n${call('get_time', '{}')}\n`,
      [...called(0, 'add', '{"a": {"b": [1, "}"]}}'), ...called(1, 'get_time', '{}')],
    ],
    [
      'words before and after a call',
      `One moment. \n${call('add', '{}')}\nDone.`,
      [said('One moment.'), ...called(0, 'add', '{}'), said('\nDone.')],
    ],
    ['words after a call alone', `${call('add', '{}')}\nDone.`, [...called(0, 'add', '{}'), said('Done.')]],
    [
      'marks inside arguments',
      call('add', '{"a": "</tool_call>"}'),
      called(0, 'add', '{"a": "</tool_call>"}'),
    ],
    [
      'quotes inside arguments',
      call('add', String.raw`{"a": "\"}{"}`),
      called(0, 'add', String.raw`{"a": "\"}{"}`),
    ],
    [
      'another order',
      '<tool_call>{"arguments": {"a": 1}, "name": "add"}</tool_call>',
      called(0, 'add', '{"a":1}'),
    ],
    ['no arguments', '<tool_call>{"name": "get_time"}</tool_call>', called(0, 'get_time', '{}')],
    [
      'arguments as a text',
      String.raw`<tool_call>{"name": "add", "arguments": "{\"a\": 1}"}</tool_call>`,
      called(0, 'add', '{"a": 1}'),
    ],
    [
      'more than a call needs',
      '<tool_call>{"name": "add", "arguments": {}, "id": 3}</tool_call>x',
      [...called(0, 'add', '{}'), said('x')],
    ],
    [
      'a forgotten end',
      '<tool_call>{"name": "add", "arguments": {}}\n</tool then <tool_call>{"name": "add", "arguments": {}}',
      [...called(0, 'add', '{}'), said('</tool then'), ...called(1, 'add', '{}')],
    ],
    [
      'arguments that break off',
      '<tool_call>{"name": "add", "arguments": {"a": 1',
      called(0, 'add', '{"a": 1'),
    ],
    [
      'a bracket too few',
      '<tool_call>{"name": "add", "arguments": {"a": 1}\n</tool_call>x',
      [...called(0, 'add', '{"a": 1}'), said('x')],
    ],
  ])('has %s', (_, text, passages) => {
    expect(passagesOf(withTools, text)).toEqual(passages);
  });

  it.each([
    ['an unknown tool', call('drop', '{}')],
    ['an unknown tool in another order', '<tool_call>{"arguments": {}, "name": "drop"}</tool_call>'],
    ['no JSON', '<tool_call>\nadd(1, 2)\n</tool_call>'],
    ['a broken name', '<tool_call>{"name": "add, "arguments": {}}</tool_call>'],
    ['a list', '<tool_call>[{"name": "add"}]</tool_call>'],
    ['arguments that are no object', '<tool_call>{"name": "add", "arguments": [1]}</tool_call>'],
    ['nothing', '<tool_call></tool_call>'],
    ['a mark that breaks off', 'x <tool_ca'],
    ['a call that breaks off before its name', '<tool_call>\n{"name": "ad'],
  ])('is text where a call would have %s', (_, text) => {
    const { passages, parser } = parse(withTools, [`A\n${text}\n`]);
    expect(passages).toEqual([said(`A\n${text}\n`)]);
    expect(parser.callCount).toBe(0);
  });

  it('has the call that comes inside something that is none', () => {
    expect(passagesOf(withTools, `<tool_call>${call('add', '{}')}`)).toEqual([
      said('<tool_call>'),
      ...called(0, 'add', '{}'),
    ]);
    expect(passagesOf(withTools, `<tool_call>{"a": "${call('add', '{}')}`)).toEqual([
      said('<tool_call>{"a": "'),
      ...called(0, 'add', '{}'),
    ]);
  });

  it('ends with its first call where there may be one only', () => {
    const { passages, parser } = parse({ ...withTools, isParallel: false }, [
      `${call('add', '{}')}\n${call('add', '{}')}`,
    ]);
    expect(passages).toEqual(called(0, 'add', '{}'));
    expect(parser.isOver).toBe(true);
  });

  it('hands out the name of a call, and then its arguments as they come', () => {
    const parser = new OutputParser(withTools);
    expect(parser.push('<tool_call>\n{"name": "add", "arguments": ')).toEqual([]);
    expect(parser.push('{"a"')).toEqual([
      { type: 'tool-call', index: 0, name: 'add' },
      { type: 'tool-arguments', index: 0, json: '{"a"' },
    ]);
    expect(parser.push(': 1')).toEqual([{ type: 'tool-arguments', index: 0, json: ': 1' }]);
  });

  it('is handed out as soon as it can be nothing else', () => {
    const parser = new OutputParser({ ...thinking, stopStrings: ['END'] });
    const parts = ['H', 'i E', 'N', 'd <to', 'ol x', ' '].map(
      (piece) => joined(parser.push(piece))[0]?.text ?? '',
    );
    expect(parts).toEqual(['H', 'i', '', ' ENd', ' <tool x', '']);
  });
});

describe('stop strings', () => {
  const stopping = (stopStrings: string[], options = thinking) => ({ ...options, stopStrings });

  it('end a text before the first that is complete', () => {
    const { passages, parser } = parse(stopping(['cd', 'b']), ['abcd']);
    expect(passages).toEqual([said('a')]);
    expect(parser.stopString).toBe('b');
    expect(parser.isOver).toBe(true);
  });

  it('end a text in the middle of what might have become another', () => {
    const { passages, parser } = parse(stopping(['abx', 'b']), ['xab']);
    expect(passages).toEqual([said('xa')]);
    expect(parser.stopString).toBe('b');
  });

  it('end it before the longest of those that end together', () => {
    const { passages, parser } = parse(stopping(['c', 'abc']), ['xabc']);
    expect(passages).toEqual([said('x')]);
    expect(parser.stopString).toBe('abc');
  });

  it('are not looked for in thoughts and calls, nor in what is around them', () => {
    const text = `<think>END</think>\nx\n${call('add', '{"a": "END"}')}`;
    const { passages, parser } = parse(stopping(['END', '<', '\n\n']), [text]);
    expect(passages).toEqual([thought('END'), said('x'), ...called(0, 'add', '{"a": "END"}')]);
    expect(parser.stopString).toBeNull();
  });

  it('are found in what is no call after all', () => {
    const { passages } = parse(stopping(['"nope"']), [`a ${call('nope', '{}')}`]);
    expect(passages).toEqual([said('a <tool_call>\n{"name": ')]);
  });

  it('are found at once where they are space', () => {
    const parser = new OutputParser(stopping(['\n']));
    expect(joined([...parser.push('a'), ...parser.push(' \n')])).toEqual([said('a ')]);
    expect(parser.isOver).toBe(true);
  });
});

describe('however the output is cut', () => {
  const bits = fc.constantFrom(
    '<think>',
    '</think>',
    '<tool_call>',
    '</tool_call>',
    '{"name": "add", "arguments": ',
    '{"name": "nope", "arguments": ',
    '{"a": "x"}',
    '{"a": {',
    '}',
    '"',
    '\\',
    '\n',
    ' ',
    'END',
    'EN',
    '<',
    'tool',
    'é',
    '🙂',
    call('add', '{"a": [1, 2]}'),
    call('get_time', '{}'),
  );
  const outputs = fc.array(bits, { maxLength: 14 }).map((some) => some.join(''));
  const options = fc.record({
    reasoning: fc.constantFrom(THINK, null),
    startsInReasoning: fc.boolean(),
    calls: fc.constantFrom(CALL, null),
    isParallel: fc.boolean(),
    stopStrings: fc.constantFrom([], ['END'], ['END', 'ND'], [' ', 'x"}'], ['<tool_call>', '🙂']),
  });
  const given = options.map((some): OutputParserOptions => ({
    ...thinking,
    ...some,
    startsInReasoning: some.startsInReasoning && some.reasoning !== null,
  }));

  it('the parts are the same', () => {
    fc.assert(
      fc.property(given, outputs, fc.array(fc.nat(40), { maxLength: 60 }), (some, text, cuts) => {
        const pieces: string[] = [];
        let rest = text;
        for (const cut of cuts) {
          pieces.push(rest.slice(0, cut));
          rest = rest.slice(cut);
        }
        expect(parse(some, [...pieces, rest]).passages).toEqual(parse(some, [text]).passages);
      }),
      { numRuns: 3000 },
    );
  });

  it('texts are told with their places, in order, and none is made up', () => {
    fc.assert(
      fc.property(given, outputs, (some, text) => {
        const { parts } = parse(some, Array.from(text));
        let end = 0;
        for (const part of parts) {
          if (part.type !== 'text') continue;
          expect(part.start).toBeGreaterThanOrEqual(end);
          expect(part.end).toBeGreaterThan(part.start);
          const source = text.slice(part.start, part.end);
          // Space that turned out to be none of the text may be missing between.
          expect(source.replace(/\s/g, '')).toBe(part.text.replace(/\s/g, ''));
          end = part.end;
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('plain output is handed out whole', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(parse(plain, Array.from(text)).passages).toEqual(text === '' ? [] : [said(text)]);
      }),
    );
  });
});

describe('an output made to be slow', () => {
  it('is read in time that grows with its length', () => {
    const parser = new OutputParser(thinking);
    const output = '<tool_call>{"a": "'.repeat(300);
    const parts = [...parser.push(output), ...parser.end()];
    expect(joined(parts)).toEqual([said(output)]);
  });
});

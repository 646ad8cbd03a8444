import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boundedTag } from '../../../src/grammar/bounded-tag.ts';
import { integerRule, numberRule } from '../../../src/grammar/number-rules.ts';
import { loadXgrammar } from '../../../src/grammar/xgrammar.ts';

const { library } = await loadXgrammar();
/** For tests alone, so that the part of the library that is used has no such thing. */
const { Testings } = library as unknown as {
  Testings: { isGrammarAcceptString(grammar: unknown, text: string): Promise<boolean> };
};

async function accepted(rule: string, texts: readonly string[]): Promise<string[]> {
  const grammar = await library.Grammar.fromEBNF(`root ::= ${rule}`);
  const taken: string[] = [];
  for (const text of texts) if (await Testings.isGrammarAcceptString(grammar, text)) taken.push(text);
  grammar.dispose();
  return taken;
}

const range = fc
  .tuple(fc.integer({ min: -1200, max: 1200 }), fc.integer({ min: 0, max: 1300 }))
  .map(([first, size]) => [first, first + size] as const);

/** Thousands of words are held against grammars. */
const TIMEOUT_MS = 60_000;

describe('a range of whole numbers', { timeout: TIMEOUT_MS }, () => {
  it('takes every number of it, and none beside it', async () => {
    await fc.assert(
      fc.asyncProperty(range, async ([first, last]) => {
        const rule = integerRule(first, last);
        if (rule === null) throw new Error('The range is not empty.');
        const near = Array.from({ length: last - first + 41 }, (_, index) => first - 20 + index);
        const inside = near.filter((number) => first <= number && number <= last);
        expect(await accepted(rule, near.map(String))).toEqual(inside.map(String));
        expect(
          await accepted(rule, ['', '-', '-0', '00', `0${last}`, `${last}0`, `${first}.0`, '1e1']),
        ).toEqual(
          [`${last}0`].filter((text) => first <= Number(text) && Number(text) <= last && !/^-?0./.test(text)),
        );
      }),
      { numRuns: 25, seed: 7 },
    );
  });

  it.each([
    [0, 0, ['0']],
    [-1, -1, ['-1']],
    [1, 0, null],
    [9, 10, ['9', '10']],
  ])('of %i to %i', async (first, last, numbers) => {
    const rule = integerRule(first, last);
    if (rule === null || numbers === null) expect([rule, numbers]).toEqual([null, null]);
    else expect(await accepted(rule, ['-10', '-1', '0', '1', '8', '9', '10', '11'])).toEqual(numbers);
  });

  it('goes up to the largest that are exact', async () => {
    const most = Number.MAX_SAFE_INTEGER;
    const rule = integerRule(-most, most) ?? '';
    const texts = [`${most}`, `-${most}`, '9007199254740992', '-9007199254740992', '123456789012345'];
    expect(await accepted(rule, texts)).toEqual([`${most}`, `-${most}`, '123456789012345']);
  });
});

describe('a range of numbers', { timeout: TIMEOUT_MS }, () => {
  it('takes nothing that is not in it, and of the rest all whole numbers and what lies between two of them', async () => {
    const fraction = fc.constantFrom(0, 0.25, 0.5);
    await fc.assert(
      fc.asyncProperty(range, fraction, fraction, async ([first, last], more, less) => {
        const [least, most] = [first + more, last + 1 - less];
        const rule = numberRule(least, most);
        if (rule === null) throw new Error('There is a whole number in the range.');
        const edges = [first, last].flatMap((edge) => [-2, -1, 0, 1, 2].map((step) => edge + step));
        const texts = [
          ...new Set([...edges, 0, -1].flatMap((whole) => [`${whole}`, `${whole}.0`, `${whole}.75`, `-0.5`])),
        ];
        const taken = await accepted(rule, texts);
        for (const text of taken)
          expect([text, least <= Number(text) && Number(text) <= most]).toEqual([text, true]);
        const [from, to] = [Math.ceil(least), Math.floor(most)];
        const sure = texts.filter(
          (text) => from <= Number(text) && Number(text) <= to && !/^-0$|^-0\.0/.test(text),
        );
        expect(taken).toEqual(expect.arrayContaining(sure.filter((text) => !text.endsWith('.0'))));
      }),
      { numRuns: 60, seed: 8 },
    );
  });

  it('is left to the library where no whole number is in it', () => {
    expect(numberRule(0.2, 0.8)).toBeNull();
  });
});

describe('a schema with ranges', () => {
  it('is kept to, wherever they are, and properties may have the names of keywords', async () => {
    const wide = { type: 'integer', minimum: -168, exclusiveMaximum: 144 };
    const schema = {
      type: 'object',
      properties: { enum: wide, list: { type: 'array', items: { anyOf: [wide, { type: 'null' }] } } },
      required: ['enum', 'list'],
      additionalProperties: false,
    };
    const tag = JSON.stringify({
      type: 'structural_tag',
      format: { type: 'json_schema', json_schema: schema },
    });
    const bounded = JSON.parse(await boundedTag(tag, library)) as { format: { grammar: string } };
    const grammar = await library.Grammar.fromEBNF(bounded.format.grammar);
    const verdicts = await Promise.all(
      ['{"enum": 143, "list": [-168, null]}', '{"enum": 144, "list": []}', '{"enum": 1, "list": [-169]}'].map(
        (text) => Testings.isGrammarAcceptString(grammar, text),
      ),
    );
    expect(verdicts).toEqual([true, false, false]);
  });
});

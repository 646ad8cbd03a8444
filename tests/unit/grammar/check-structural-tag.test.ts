import { describe, expect, it } from 'vitest';
import { checkStructuralTag } from '../../../src/grammar/check-structural-tag.ts';
import { MAX_CONSTRAINT_CHARACTERS } from '../../../src/protocol/limits.ts';

/** Starting a thread takes a second, and longer where many tests run at once. */
const TIMEOUT_MS = 60_000;

function tagOf(schema: unknown): string {
  return JSON.stringify({ type: 'structural_tag', format: { type: 'json_schema', json_schema: schema } });
}

describe('a structural tag that is checked', { timeout: TIMEOUT_MS }, () => {
  it('passes where a grammar can be made of it', async () => {
    await expect(checkStructuralTag(tagOf({ type: 'object' }))).resolves.toBeUndefined();
  });

  it.each([
    ['no JSON', '{nope', /JSON/],
    [
      'another format',
      '{"type":"structural_tag","format":{"type":"frob"}}',
      /Format type not recognized: frob/,
    ],
    ['an unknown type', tagOf({ type: 'frob' }), /Unsupported type "frob"/],
    ['a reference to nothing', tagOf({ $ref: '#/nowhere' }), /Cannot find field nowhere/],
    [
      'a bad pattern',
      JSON.stringify({ type: 'structural_tag', format: { type: 'regex', pattern: '(a' } }),
      /parenthesis is not closed/,
    ],
    ['nothing', '', /0 characters/],
    ['too much', ' '.repeat(MAX_CONSTRAINT_CHARACTERS + 1), /65537 characters/],
  ])('is refused with the reason for %s, and the next is checked as well', async (_, text, reason) => {
    const refusal = { code: 'bad-argument', message: expect.stringMatching(reason) as string };
    await expect(checkStructuralTag(text)).rejects.toMatchObject(refusal);
    await expect(checkStructuralTag(text)).rejects.toMatchObject(refusal);
    await expect(checkStructuralTag(tagOf({ type: 'string' }))).resolves.toBeUndefined();
  });

  it('is checked beside bad ones, which take its worker away', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 12 }, (_, index) =>
        checkStructuralTag(tagOf(index % 3 === 0 ? { type: `frob${index}` } : { type: 'integer' })),
      ),
    );
    expect(results.map(({ status }) => status)).toEqual(
      Array.from({ length: 12 }, (_, index) => (index % 3 === 0 ? 'rejected' : 'fulfilled')),
    );
  });

  it('has no more depth than the library can bear', async () => {
    let schema: unknown = { type: 'string' };
    for (let depth = 0; depth < 1000; depth += 1) schema = { type: 'array', items: schema };
    await expect(checkStructuralTag(tagOf(schema))).rejects.toMatchObject({ code: 'bad-argument' });
    await expect(checkStructuralTag(tagOf({ type: 'string' }))).resolves.toBeUndefined();
  });
});

import { setTimeout as sleep } from 'node:timers/promises';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generate } from '../../src/client/generate.ts';
import type { GenerateResult, Prompt } from '../../src/client/generate.ts';
import type { LocalMesh } from '../../src/contributor/local-mesh.ts';
import { sampling } from '../../src/protocol/sampling.ts';
import type { SamplingParams } from '../../src/protocol/sampling.ts';
import { openSkeinTiny } from './skein-tiny.ts';
import type { SkeinTiny } from './skein-tiny.ts';

const SCHEMAS = 200;
/** More than the longest answer that any of the schemas has room for. */
const MAX_TOKENS = 700;

type Schema = Readonly<Record<string, unknown>>;

const name = fc.constantFrom('id', 'name', 'größe', 'a b', 'list', 'value', 'x-1');
const range = (min: number, max: number) =>
  fc
    .tuple(fc.integer({ min, max }), fc.integer({ min, max }))
    .map(([a, b]) => [Math.min(a, b), Math.max(a, b)]);

/** Schemas whose every answer is short: everything that repeats has a bound. */
const leaf: fc.Arbitrary<Schema> = fc.oneof(
  fc.constantFrom<Schema>({ type: 'boolean' }, { type: 'null' }),
  range(-20, 40).map(([minimum, maximum]) => ({ type: 'integer', minimum, maximum })),
  range(-100_000, 1_000_000).map(([minimum, maximum]) => ({ type: 'integer', minimum, maximum })),
  range(-50, 50).map(([minimum, maximum]) => ({ type: 'number', minimum, maximum: (maximum ?? 0) + 0.5 })),
  range(0, 8).map(([minLength, maxLength]) => ({ type: 'string', minLength, maxLength })),
  fc
    .constantFrom('^[a-c]{2,4}$', '^\\d{3}-\\d{2}$', '^(yes|no|maybe)$', '^[A-Z][a-z]{1,5}$')
    .map((pattern) => ({ type: 'string', pattern })),
  fc
    .uniqueArray(fc.oneof(fc.string({ maxLength: 8 }), fc.integer({ min: -9, max: 99 })), {
      minLength: 1,
      maxLength: 6,
    })
    .map((values) => ({ enum: values })),
  fc.oneof(fc.string({ maxLength: 8 }), fc.boolean(), fc.nat(1000)).map((value) => ({ const: value })),
  fc.constant({ $ref: '#/$defs/point' }),
);
const { schema } = fc.letrec<{ schema: Schema }>((tie) => ({
  schema: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leaf,
    fc
      .tuple(tie('schema'), range(0, 3))
      .map(([items, [minItems, maxItems]]) => ({ type: 'array', items, minItems, maxItems })),
    fc.dictionary(name, tie('schema'), { minKeys: 1, maxKeys: 4 }).chain((properties) =>
      fc.subarray(Object.keys(properties)).map((required) => ({
        type: 'object',
        properties,
        required,
        additionalProperties: false,
      })),
    ),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
  ),
}));
const root: fc.Arbitrary<Schema> = fc
  .dictionary(name, schema, { minKeys: 1, maxKeys: 4 })
  .map((properties) => ({
    type: 'object',
    properties,
    required: Object.keys(properties),
    additionalProperties: false,
    $defs: {
      point: {
        type: 'object',
        properties: { x: { type: 'integer', minimum: 0, maximum: 49 }, y: { enum: [0, 1] } },
        required: ['x', 'y'],
        additionalProperties: false,
      },
    },
  }));

let tiny: SkeinTiny;
let mesh: LocalMesh;
beforeAll(async () => {
  tiny = await openSkeinTiny();
  mesh = await tiny.mesh({ cuts: [4], cacheTokens: 32_768 });
});
afterAll(() => mesh.dispose());

async function answer(
  prompt: Prompt,
  format: object,
  params: SamplingParams,
  maxTokens = MAX_TOKENS,
): Promise<GenerateResult> {
  const events = generate(
    {
      model: mesh.model,
      prompt,
      maxTokens,
      sampling: params,
      constraint: JSON.stringify({ type: 'structural_tag', format }),
    },
    {
      transport: mesh.newRequester(),
      tokenizer: tiny.tokenizer,
      requestRoute: (query) => mesh.requestRoute(query),
      endRoute: () => undefined,
      now: () => performance.now(),
      sleep: (ms) => sleep(ms),
    },
  );
  for await (const event of events) if (event.type === 'done') return event.result;
  throw new Error('the generation ended without a result');
}

function chat(content: string): Prompt {
  return { kind: 'chat', messages: [{ role: 'user', content }] };
}

describe('a constrained answer', () => {
  it(`of ${SCHEMAS} random JSON schemas is valid in every case, at temperature 0 and above`, async () => {
    const schemas = fc.sample(root, { numRuns: SCHEMAS, seed: 6 });
    expect(new Set(schemas.map((one) => JSON.stringify(one))).size).toBeGreaterThan(0.95 * SCHEMAS);
    const results = await Promise.all(
      schemas.map((json_schema, index) =>
        answer(
          chat(`Answer as JSON, number ${index}.`),
          { type: 'json_schema', json_schema },
          sampling(index % 2 === 0 ? {} : { temperature: 0.5 + (index % 5) / 2, seed: index, topP: 0.95 }),
        ),
      ),
    );
    const faults = results.flatMap(({ text, finishReason }, index) => {
      const ajv = new Ajv({ strict: false });
      const isValid = ajv.compile(schemas[index] ?? {});
      try {
        return finishReason === 'stop' && isValid(JSON.parse(text))
          ? []
          : [
              {
                schema: JSON.stringify(schemas[index]),
                text,
                finishReason,
                errors: ajv.errorsText(isValid.errors),
              },
            ];
      } catch (thrown) {
        return [{ schema: JSON.stringify(schemas[index]), text, finishReason, errors: String(thrown) }];
      }
    });
    expect(faults).toEqual([]);
    expect(results).toHaveLength(SCHEMAS);
  });

  it('calls a tool where it has to, in free text', async () => {
    const parameters: Schema = {
      type: 'object',
      properties: { city: { type: 'string', minLength: 1, maxLength: 20 } },
      required: ['city'],
      additionalProperties: false,
    };
    const format = {
      type: 'triggered_tags',
      triggers: ['<tool_call>'],
      tags: ['get_weather', 'get_time'].map((tool) => ({
        type: 'tag',
        begin: `<tool_call>\n{"name": "${tool}", "arguments": `,
        content: { type: 'json_schema', json_schema: parameters },
        end: '}\n</tool_call>',
      })),
      at_least_one: true,
      stop_after_first: true,
    };
    const isValid = new Ajv({ strict: false }).compile(parameters);
    for (const temperature of [0, 1.5]) {
      const { text, finishReason } = await answer(
        chat('How is the weather in Paris?'),
        format,
        sampling({ temperature }),
      );
      expect(finishReason).toBe('stop');
      const [, call] = /^<tool_call>\n(.*)\n<\/tool_call>$/.exec(text) ?? [];
      const { name: tool, arguments: values } = JSON.parse(call ?? '') as Record<string, unknown>;
      expect(['get_weather', 'get_time']).toContain(tool);
      expect(isValid(values)).toBe(true);
    }
  });

  it('is refused at once where no grammar can be made of it, and others go on', async () => {
    const bad = answer(chat('Hello'), { type: 'json_schema', json_schema: { type: 'frob' } }, sampling({}));
    await expect(bad).rejects.toMatchObject({
      code: 'bad-argument',
      message: expect.stringContaining('Unsupported type "frob"') as string,
    });
    const empty = { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } };
    await expect(
      answer(chat('Hello'), { type: 'json_schema', json_schema: empty }, sampling({})),
    ).rejects.toMatchObject({ code: 'bad-argument', message: expect.stringContaining('no token') as string });
    const good = await answer(
      chat('Hello'),
      { type: 'json_schema', json_schema: { type: 'boolean' } },
      sampling({}),
    );
    expect(['true', 'false']).toContain(good.text);
  });
});

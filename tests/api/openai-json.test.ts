import { Ajv } from 'ajv';
import { expect, it } from 'vitest';
import { MODEL, openai, withSeed } from './clients.ts';

const client = openai();
const PERSON = 'Mia is 9 years old. Answer in JSON.';

function ask(question: string) {
  return {
    model: MODEL,
    temperature: 0,
    max_completion_tokens: 300,
    messages: [{ role: 'user' as const, content: question }],
  };
}

function format(schema: Record<string, unknown>) {
  return {
    response_format: {
      type: 'json_schema' as const,
      json_schema: { name: 'answer', strict: true, schema },
    },
  };
}

const person = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 20 },
    age: { type: 'integer', minimum: 0, maximum: 120 },
  },
  required: ['name', 'age'],
  additionalProperties: false,
};

/** Nothing that the model was trained for. */
const visit = {
  type: 'object',
  properties: {
    kind: { enum: ['visit', 'call'] },
    days: {
      type: 'array',
      minItems: 2,
      maxItems: 3,
      items: {
        type: 'object',
        properties: { day: { $ref: '#/$defs/day' } },
        required: ['day'],
        additionalProperties: false,
      },
    },
    note: { anyOf: [{ type: 'null' }, { type: 'string', maxLength: 12 }] },
    isOpen: { type: 'boolean' },
  },
  required: ['kind', 'days', 'note', 'isOpen'],
  additionalProperties: false,
  $defs: { day: { type: 'integer', minimum: 1, maximum: 31 } },
};

it('answers by a schema what it would have answered', async () => {
  const completion = await client.chat.completions.create({ ...ask(PERSON), ...format(person) });
  expect(completion.choices[0]?.finish_reason).toBe('stop');
  expect(JSON.parse(completion.choices[0]?.message.content ?? '')).toEqual({ name: 'Mia', age: 9 });
});

it('keeps to a schema that has nothing to do with the question, however it draws', async () => {
  const isValid = new Ajv({ strict: false }).compile(visit);
  const question = {
    ...ask('Tell me a short story.'),
    ...format(visit),
    temperature: 1.5,
    n: 4,
  };
  const completion = await client.chat.completions.create(withSeed(question, 3));
  for (const { message, finish_reason: reason } of completion.choices) {
    expect(reason).toBe('stop');
    const value: unknown = JSON.parse(message.content ?? '');
    expect(isValid(value), `${message.content}: ${JSON.stringify(isValid.errors)}`).toBe(true);
  }
});

it("streams by a schema, parsed by the client's own helper", async () => {
  const stream = client.chat.completions.stream({ ...ask(PERSON), ...format(person) });
  const completion = await stream.finalChatCompletion();
  expect(JSON.parse(completion.choices[0]?.message.content ?? '')).toEqual({ name: 'Mia', age: 9 });
});

it('answers with a JSON object, whatever it is of', async () => {
  const completion = await client.chat.completions.create({
    ...ask(PERSON),
    response_format: { type: 'json_object' },
  });
  expect(completion.choices[0]?.finish_reason).toBe('stop');
  expect(JSON.parse(completion.choices[0]?.message.content ?? '')).toEqual({ name: 'Mia', age: 9 });
});

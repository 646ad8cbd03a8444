import { expect, it } from 'vitest';
import { MODEL, openai } from './clients.ts';
import { scoredAnswer } from './golden.ts';

/** The activations between the stages are f16; everything else is f32. */
const TOLERANCE = 1e-3;

const client = openai();
const golden = scoredAnswer();

function expectGolden(actual: readonly number[]): void {
  // The end mark is no token of the text.
  const expected = golden.logProbabilities.slice(0, -1);
  expect(actual).toHaveLength(expected.length);
  for (const [index, value] of actual.entries()) {
    expect(Math.abs(value - (expected[index] ?? NaN)), `token ${index}`).toBeLessThan(TOLERANCE);
  }
}

const question = {
  model: MODEL,
  temperature: 0,
  messages: [{ role: 'user' as const, content: golden.question }],
  logprobs: true,
  top_logprobs: 4,
};

it('scores the tokens of a chat answer as golden.json does', async () => {
  const completion = await client.chat.completions.create(question);
  const content = completion.choices[0]?.logprobs?.content ?? [];
  expectGolden(content.map(({ logprob }) => logprob));
  expect(Buffer.from(content.flatMap(({ bytes }) => bytes ?? [])).toString()).toBe(golden.text);
  for (const { token, logprob, top_logprobs: best } of content) {
    expect(best).toHaveLength(4);
    expect(best[0]).toMatchObject({ token, logprob });
    const values = best.map((each) => each.logprob);
    expect(values).toEqual(values.toSorted((a, b) => b - a));
    expect(values.reduce((sum, value) => sum + Math.exp(value), 0)).toBeLessThanOrEqual(1 + TOLERANCE);
  }
});

it('scores them alike in a stream', async () => {
  const completion = await client.chat.completions.stream(question).finalChatCompletion();
  const content = completion.choices[0]?.logprobs?.content ?? [];
  expectGolden(content.map(({ logprob }) => logprob));
  expect(content.map(({ token }) => token).join('')).toBe(golden.text);
});

it('scores those of the distribution itself, whatever is drawn from', async () => {
  const completion = await client.chat.completions.create({
    ...question,
    temperature: 0.2,
    top_p: 0.01,
  });
  const content = completion.choices[0]?.logprobs?.content ?? [];
  expectGolden(content.map(({ logprob }) => logprob));
});

it('scores the tokens of a text completion', async () => {
  const completion = await client.completions.create({
    model: MODEL,
    temperature: 0,
    prompt: [...golden.promptIds],
    max_tokens: 96,
    logprobs: 2,
  });
  const logprobs = completion.choices[0]?.logprobs;
  expectGolden(logprobs?.token_logprobs ?? []);
  expect(logprobs?.tokens?.join('')).toBe(golden.text);
  for (const best of logprobs?.top_logprobs ?? []) expect(Object.keys(best)).toHaveLength(2);
  let offset = 0;
  for (const [index, token] of (logprobs?.tokens ?? []).entries()) {
    expect(logprobs?.text_offset?.[index]).toBe(offset);
    offset += token.length;
  }
});

it('scores nothing unasked', async () => {
  const { model, messages } = question;
  const completion = await client.chat.completions.create({ model, messages, temperature: 0 });
  expect(completion.choices[0]?.logprobs).toBeNull();
});

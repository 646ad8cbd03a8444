import { expect, it } from 'vitest';
import { MODEL, openai } from './clients.ts';
import { GOLDEN_ANSWERS, goldenAnswer } from './golden.ts';

const client = openai();
const [FIRST, SECOND] = [goldenAnswer('What is 7 * 8?'), goldenAnswer('Spell window.')];

it('goes on with every golden prompt, given as token ids, as golden.json does', async () => {
  const completion = await client.completions.create({
    model: MODEL,
    temperature: 0,
    max_tokens: 96,
    prompt: GOLDEN_ANSWERS.map(({ promptIds }) => [...promptIds]),
  });
  expect(completion.choices).toMatchObject(
    GOLDEN_ANSWERS.map(({ text }, index) => ({ index, text, finish_reason: 'stop' })),
  );
  const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);
  expect(completion.usage).toMatchObject({
    prompt_tokens: total(GOLDEN_ANSWERS.map(({ promptIds }) => promptIds.length)),
    completion_tokens: total(GOLDEN_ANSWERS.map(({ tokenCount }) => tokenCount)),
  });
});

it('takes the marks of a chat written out, and streams', async () => {
  const prompt = [FIRST, SECOND].map(
    ({ question }) => `<|im_start|>user\n${question}<|im_end|>\n<|im_start|>assistant\n`,
  );
  const stream = await client.completions.create({
    model: MODEL,
    temperature: 0,
    max_tokens: 96,
    prompt,
    stream: true,
  });
  const texts = ['', ''];
  for await (const { choices } of stream) {
    for (const { index, text } of choices) texts[index] = (texts[index] ?? '') + text;
  }
  expect(texts).toEqual([FIRST.text, SECOND.text]);
});

it('ends after sixteen tokens where nothing else is said', async () => {
  const { promptIds, text } = goldenAnswer('Count to 12.');
  const completion = await client.completions.create({
    model: MODEL,
    temperature: 0,
    prompt: [...promptIds],
  });
  expect(completion.usage?.completion_tokens).toBe(16);
  expect(completion.choices[0]?.finish_reason).toBe('length');
  expect(text.startsWith(completion.choices[0]?.text ?? '-')).toBe(true);
});

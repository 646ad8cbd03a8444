import { expect, it } from 'vitest';
import { MODEL, openai, withSeed } from './clients.ts';
import { GOLDEN_ANSWERS, goldenAnswer } from './golden.ts';

const client = openai();
const DAYS = goldenAnswer('List the days of the week.');
const STORY = { model: MODEL, messages: [{ role: 'user' as const, content: 'Tell me a short story.' }] };

function ask(question: string) {
  return { model: MODEL, temperature: 0, messages: [{ role: 'user' as const, content: question }] };
}

it.each(GOLDEN_ANSWERS)('answers "$question" as golden.json does', async (golden) => {
  const completion = await client.chat.completions.create(ask(golden.question));
  expect(completion).toMatchObject({
    object: 'chat.completion',
    model: MODEL,
    choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: golden.text } }],
    usage: {
      prompt_tokens: golden.promptIds.length,
      completion_tokens: golden.tokenCount,
      total_tokens: golden.promptIds.length + golden.tokenCount,
    },
  });
  expect(completion._request_id).toMatch(/^req_/);
});

it.each(GOLDEN_ANSWERS)('streams the answer to "$question" as golden.json has it', async (golden) => {
  const stream = await client.chat.completions.create({ ...ask(golden.question), stream: true });
  let text = '';
  const finishReasons: string[] = [];
  let pieces = 0;
  for await (const { choices, usage } of stream) {
    expect(usage).toBeUndefined();
    for (const { delta, finish_reason: reason } of choices) {
      text += delta.content ?? '';
      if (delta.content) pieces += 1;
      if (reason !== null) finishReasons.push(reason);
    }
  }
  expect(text).toBe(golden.text);
  expect(pieces).toBeGreaterThan(1);
  expect(finishReasons).toEqual(['stop']);
});

it('streams what its own helper puts together again, with the usage at the end', async () => {
  const stream = client.chat.completions.stream({
    ...ask(DAYS.question),
    stream_options: { include_usage: true },
  });
  const completion = await stream.finalChatCompletion();
  expect(completion.choices[0]?.message.content).toBe(DAYS.text);
  expect(await stream.totalUsage()).toMatchObject({
    prompt_tokens: DAYS.promptIds.length,
    completion_tokens: DAYS.tokenCount,
  });
});

it('sends the usage in a last chunk without choices, where it is asked for', async () => {
  const stream = await client.chat.completions.create({
    ...ask(DAYS.question),
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  expect(chunks.at(-1)).toMatchObject({
    choices: [],
    usage: { prompt_tokens: DAYS.promptIds.length, completion_tokens: DAYS.tokenCount },
  });
  expect(chunks.slice(0, -1).map(({ usage }) => usage)).toEqual(chunks.slice(1).map(() => null));
});

it('remembers a conversation and tells which of its tokens were cached', async () => {
  const messages = [
    { role: 'system' as const, content: 'You are a helpful assistant.' },
    { role: 'user' as const, content: 'I like blue.' },
    { role: 'assistant' as const, content: 'Blue is a nice colour.' },
    { role: 'user' as const, content: 'Which colour do I like?' },
  ];
  const create = () => client.chat.completions.create({ model: MODEL, temperature: 0, messages });
  const first = await create();
  const second = await create();
  expect(first.choices[0]?.message.content).toBe('You like blue.');
  expect(second.choices).toEqual(first.choices);
  const [before = 0, after = 0] = [first, second].map(
    ({ usage }) => usage?.prompt_tokens_details?.cached_tokens,
  );
  expect(after).toBeGreaterThan(before);
  expect(after).toBeLessThan(second.usage?.prompt_tokens ?? 0);
});

it('ends before a stop string, whole and streamed', async () => {
  const question = { ...ask(DAYS.question), stop: ['Thursday', 'Saturday'] };
  const expected = DAYS.text.slice(0, DAYS.text.indexOf('Thursday'));
  const whole = await client.chat.completions.create(question);
  expect(whole.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: expected } });
  const streamed = await client.chat.completions.stream(question).finalChatCompletion();
  expect(streamed.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: expected } });
});

it('ends where it has as many tokens as it may have', async () => {
  const completion = await client.chat.completions.create({
    ...ask(DAYS.question),
    max_completion_tokens: 3,
  });
  expect(completion.choices[0]?.finish_reason).toBe('length');
  expect(completion.usage?.completion_tokens).toBe(3);
  const text = completion.choices[0]?.message.content ?? '';
  expect(text).not.toBe('');
  expect(DAYS.text.startsWith(text)).toBe(true);
});

it('gives as many answers as are asked for, whole and streamed', async () => {
  const question = { ...ask(DAYS.question), n: 2 };
  const same = [0, 1].map((index) => ({ index, message: { content: DAYS.text }, finish_reason: 'stop' }));
  const whole = await client.chat.completions.create(question);
  expect(whole.choices).toMatchObject(same);
  expect(whole.usage?.completion_tokens).toBe(2 * DAYS.tokenCount);
  const streamed = await client.chat.completions.stream(question).finalChatCompletion();
  expect(streamed.choices).toMatchObject(same);
});

it('draws the same for the same seed, another for another, and several for one question', async () => {
  const create = (seed: number, n = 1) =>
    client.chat.completions.create(
      withSeed({ ...STORY, temperature: 1.5, n, max_completion_tokens: 40 }, seed),
    );
  const texts = ({ choices }: Awaited<ReturnType<typeof create>>) =>
    choices.map(({ message }) => message.content);
  const first = await create(7);
  const again = await create(7);
  expect(texts(again)).toEqual(texts(first));
  expect(texts(await create(8))).not.toEqual(texts(first));
  expect(again).toMatchObject({ system_fingerprint: expect.stringMatching(/^fp_/) as string });
  const several = texts(await create(7, 3));
  expect(several[0]).toBe(texts(first)[0]);
  expect(new Set(several).size).toBe(3);
});

it('bans and forces tokens by their biases', async () => {
  const { promptIds, question } = goldenAnswer('What is the capital of Japan?');
  const japan = promptIds.at(-7);
  const plain = await client.chat.completions.create(ask(question));
  expect(plain.choices[0]?.message.content).toContain('Japan');
  const banned = await client.chat.completions.create({
    ...ask(question),
    logit_bias: { [String(japan)]: -100 },
    max_completion_tokens: 20,
  });
  expect(banned.choices[0]?.message.content).not.toContain(' Japan');
  const forced = await client.chat.completions.create({
    ...ask(question),
    logit_bias: { [String(japan)]: 100 },
    max_completion_tokens: 2,
  });
  expect(forced.choices[0]?.message.content).toBe(' Japan Japan');
});

it('does what vLLM and others add to the API', async () => {
  const extensions = { min_tokens: 30, top_k: 1, min_p: 0.1, repetition_penalty: 1 };
  const completion = await client.chat.completions.create({
    ...STORY,
    ...extensions,
    max_completion_tokens: 30,
  });
  expect(completion.usage?.completion_tokens).toBe(30);
  const greedy = await client.chat.completions.create({ ...ask(DAYS.question), ...{ top_k: 1 } });
  expect(greedy.choices[0]?.message.content).toBe(DAYS.text);
});

it('lists its models', async () => {
  const listed = [];
  for await (const model of client.models.list()) listed.push(model);
  expect(listed).toMatchObject([{ id: MODEL, object: 'model' }]);
  expect(await client.models.retrieve(MODEL)).toMatchObject({ id: MODEL, object: 'model' });
});

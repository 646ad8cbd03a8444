import { expect, test } from 'vitest';
import { countTokens } from '../../../../src/client/api/messages-count.ts';
import { parseCountTokens } from '../../../../src/client/api/messages-request.ts';
import { FolderSource } from '../../../../src/model/folder-source.ts';
import { maxSequenceTokens } from '../../../../src/protocol/slice-bytes.ts';
import { Tokenizer } from '../../../../src/tokenizer/tokenizer.ts';
import { card as cardOf } from '../../signaling/scheduler/instances.ts';

const tokenizer = await Tokenizer.load(new FolderSource('public/models/skein-tiny'));
const model = { tokenizer, card: cardOf({ contextLength: 64 }) };
const user = (content: string) => ({ role: 'user' as const, content });
const ADD = { name: 'add', description: 'Adds.', input_schema: { type: 'object', properties: {} } };

const count = (params: object) =>
  countTokens(parseCountTokens({ model: 'skein-tiny', messages: [user('Hello there')], ...params }), model)
    .input_tokens;

test('what the template makes of a conversation is counted, tools included', () => {
  const messages = [{ role: 'system' as const, content: 'Be brief.' }, user('Hello there')];
  expect(count({})).toBe(tokenizer.encode(tokenizer.renderChat([user('Hello there')])).length);
  expect(count({ system: 'Be brief.' })).toBe(tokenizer.encode(tokenizer.renderChat(messages)).length);
  const { name, description, input_schema: parameters } = ADD;
  const tools = [{ type: 'function', function: { name, description, parameters } }];
  const rendered = tokenizer.renderChat([user('Hello there')], { tools });
  expect(count({ tools: [ADD] })).toBe(tokenizer.encode(rendered).length);
  expect(count({ tools: [ADD], tool_choice: { type: 'none' } })).toBe(count({}));
});

test('one that is too long for the mesh is counted, and one that is much too long refused', () => {
  const words = (number: number) => [user('a b '.repeat(number))];
  expect(count({ messages: words(50) })).toBeGreaterThan(maxSequenceTokens(model.card));
  expect(() => count({ messages: words(10_000) })).toThrow(
    expect.objectContaining({
      code: 'bad-argument',
      data: expect.objectContaining({ param: 'messages' }) as unknown,
    }),
  );
});

import { expect, it } from 'vitest';
import { queueWords } from '../../../src/client/queue-words.ts';

it.each([
  [1, 'Waiting: your answer is next'],
  [2, 'Waiting: 1 answer before yours'],
  [13, 'Waiting: 12 answers before yours'],
])('says what place %i means', (position, words) => {
  expect(queueWords(position)).toBe(words);
});

import { describe, expect, it } from 'vitest';
import { generate } from '../../../src/client/generate.ts';
import type { GenerateDeps, GenerateRequest } from '../../../src/client/generate.ts';
import { LocalHub } from '../../../src/mesh/local-hub.ts';
import type { ModelId, PeerId } from '../../../src/protocol/ids.ts';
import { GREEDY } from '../../../src/protocol/sampling.ts';
import type { Tokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { refusalOf } from '../../fixtures/errors.ts';

const self = 'a'.repeat(32) as PeerId;
const request: GenerateRequest = {
  model: 'm' as ModelId,
  prompt: { kind: 'ids', ids: [1, 2, 3, 4] },
  maxTokens: 8,
  sampling: GREEDY,
};

/** Nothing here may be asked for: the request is refused before anything is sent. */
const deps: GenerateDeps = {
  transport: new LocalHub().transport(self),
  tokenizer: {
    stopTokenIds: [],
    streamDecoder: () => ({ push: () => '', flush: () => '' }),
  } as unknown as Tokenizer,
  requestRoute: () => Promise.reject(new Error('a route was asked for')),
  endRoute: () => undefined,
  now: () => 0,
  sleep: () => Promise.resolve(),
};

describe('generate', () => {
  it.each<[string, Partial<GenerateRequest>, RegExp]>([
    ['an empty prompt', { prompt: { kind: 'ids', ids: [] } }, /prompt is empty/],
    [
      'a prompt that leaves no room for an answer',
      { contextTokens: 4 },
      /has 4 tokens, and this mesh holds 4/,
    ],
    ['no tokens', { maxTokens: 0 }, /maxTokens is 0/],
    ['a mass of nothing', { sampling: { ...GREEDY, topP: 0 } }, /topP/],
    [
      'more than the answer may have',
      { sampling: { ...GREEDY, minTokens: 1000 }, maxTokens: 999 },
      /minTokens/,
    ],
    [
      'a bias twice',
      {
        sampling: {
          ...GREEDY,
          logitBias: [
            [1, 1],
            [1, 2],
          ],
        },
      },
      /logitBias/,
    ],
    ['a seed that is no u32', { sampling: { ...GREEDY, seed: -1 } }, /seed/],
  ])('refuses %s by name before it asks for a route', async (_, changes, words) => {
    const error = await refusalOf(() => generate({ ...request, ...changes }, deps).next());
    expect(error).toMatchObject({ code: 'bad-argument' });
    expect(error.message).toMatch(words);
  });
});

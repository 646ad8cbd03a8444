import { Command } from 'commander';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { addSamplingOptions, samplingOf } from '../../../src/cli/sampling-options.ts';
import type { SamplingOptions } from '../../../src/cli/sampling-options.ts';
import { GREEDY, samplingSchema } from '../../../src/protocol/sampling.ts';
import type { SamplingParams } from '../../../src/protocol/sampling.ts';

function parse(...words: string[]): SamplingParams {
  const command = addSamplingOptions(new Command())
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  return samplingOf(command.parse(words, { from: 'user' }).opts<SamplingOptions>());
}

describe('sampling flags', () => {
  it('are greedy when left out', () => {
    expect(parse()).toEqual(GREEDY);
  });

  it('say everything that sampling takes', () => {
    const params = parse(
      ...['--temperature', '0.7', '--top-k', '40', '--top-p', '0.9', '--min-p', '0.05', '--seed', '7'],
      ...['--repetition-penalty', '1.1', '--presence-penalty', '-1', '--frequency-penalty', '0.5'],
      ...['--logit-bias', '42=-100', '--logit-bias', '7=1.5', '--top-logprobs', '5', '--min-tokens', '3'],
    );
    expect(params).toEqual({
      temperature: 0.7,
      topK: 40,
      topP: 0.9,
      minP: 0.05,
      seed: 7,
      repetitionPenalty: 1.1,
      presencePenalty: -1,
      frequencyPenalty: 0.5,
      logitBias: [
        [42, -100],
        [7, 1.5],
      ],
      topLogProbabilities: 5,
      minTokens: 3,
    });
    expect(v.is(samplingSchema, params)).toBe(true);
  });

  it.each([
    ['--top-p', '0', /above 0/],
    ['--top-p', '1.1', /from 0 to 1/],
    ['--min-p', '-0.1', /from 0 to 1/],
    ['--repetition-penalty', '0', /from 0.01 to 100/],
    ['--presence-penalty', '2.5', /from -2 to 2/],
    ['--frequency-penalty', 'much', /from -2 to 2/],
    ['--logit-bias', '42', /42=-100/],
    ['--logit-bias', '=5', /42=-100/],
    ['--logit-bias', '42=', /42=-100/],
    ['--logit-bias', '1=2=3', /42=-100/],
    ['--logit-bias', '1.5=2', /whole number/],
    ['--logit-bias', '-1=2', /from 0 to 4294967295/],
    ['--logit-bias', '1=-101', /from -100 to 100/],
    ['--top-logprobs', '21', /from 0 to 20/],
    ['--min-tokens', '0.5', /whole number/],
  ])('refuse %s %s, and say what would do', (flag, value, words) => {
    expect(() => parse(flag, value)).toThrow(words);
  });

  it('refuse a token that has a bias already', () => {
    expect(() => parse('--logit-bias', '42=1', '--logit-bias', '42=2')).toThrow(/42 has a bias already/);
  });
});

import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { MAX_LOGIT_BIASES, MAX_SEQUENCE_TOKENS, MAX_TOP_LOG_PROBABILITIES } from '../protocol/limits.ts';
import { BANNING_BIAS, GREEDY } from '../protocol/sampling.ts';
import type { SamplingParams } from '../protocol/sampling.ts';
import { numberBetween, wholeNumber } from './arguments.ts';

const MAX_U32 = 0xffff_ffff;

/** What the sampling flags of a command become. */
export interface SamplingOptions {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly logitBias: readonly [tokenId: number, bias: number][];
  readonly topLogprobs: number;
  readonly minTokens: number;
  readonly seed: number;
}

/** @param defaults where a command has others than greedy. */
export function addSamplingOptions(command: Command, defaults: Partial<SamplingParams> = {}): Command {
  const { temperature, topK, topP } = { ...GREEDY, ...defaults };
  return command
    .option('--temperature <t>', '0 is greedy', numberBetween(0, 100), temperature)
    .option('--top-k <k>', 'keep the k most probable tokens; 0 keeps all', wholeNumber(0, MAX_U32), topK)
    .option('--top-p <p>', 'keep the most probable tokens up to this mass', numberAbove(0, 1), topP)
    .option(
      '--min-p <p>',
      'keep tokens at least this share of the likeliest as likely',
      numberBetween(0, 1),
      GREEDY.minP,
    )
    .option(
      '--repetition-penalty <r>',
      'over 1, avoids tokens of prompt and answer',
      numberBetween(0.01, 100),
      GREEDY.repetitionPenalty,
    )
    .option(
      '--presence-penalty <p>',
      'taken from logits of tokens in the answer',
      numberBetween(-2, 2),
      GREEDY.presencePenalty,
    )
    .option(
      '--frequency-penalty <p>',
      'taken from logits of tokens for each time they are in the answer',
      numberBetween(-2, 2),
      GREEDY.frequencyPenalty,
    )
    .option(
      '--logit-bias <id=bias>',
      `added to the logit of a token, ${BANNING_BIAS} to 100; ${BANNING_BIAS} bans it; may be given again`,
      collectBias,
      [],
    )
    .option(
      '--top-logprobs <n>',
      'report the n most probable tokens of each; needs --json',
      wholeNumber(0, MAX_TOP_LOG_PROBABILITIES),
      GREEDY.topLogProbabilities,
    )
    .option(
      '--min-tokens <n>',
      'tokens of the answer, at least: no stop token before',
      wholeNumber(0, MAX_SEQUENCE_TOKENS),
      GREEDY.minTokens,
    )
    .option('--seed <n>', 'same seed, same answer', wholeNumber(0, MAX_U32), GREEDY.seed);
}

export function samplingOf(options: SamplingOptions): SamplingParams {
  const { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty } = options;
  return {
    temperature,
    topK,
    topP,
    minP,
    repetitionPenalty,
    presencePenalty,
    frequencyPenalty,
    logitBias: [...options.logitBias],
    topLogProbabilities: options.topLogprobs,
    minTokens: options.minTokens,
    seed: options.seed,
  };
}

function numberAbove(min: number, max: number): (text: string) => number {
  const inRange = numberBetween(min, max);
  return (text) => {
    const value = inRange(text);
    if (value === min) throw new InvalidArgumentError(`Give a number above ${min}, up to ${max}.`);
    return value;
  };
}

const biasOf = numberBetween(BANNING_BIAS, 100);
const tokenOf = wholeNumber(0, MAX_U32);

function collectBias(text: string, previous: readonly [number, number][]): [tokenId: number, bias: number][] {
  const [id = '', bias = '', ...rest] = text.split('=');
  if (id === '' || bias === '' || rest.length > 0) {
    throw new InvalidArgumentError('Give a token id and a bias, as 42=-100.');
  }
  const tokenId = tokenOf(id);
  if (previous.some(([other]) => other === tokenId)) {
    throw new InvalidArgumentError(`Token ${tokenId} has a bias already.`);
  }
  if (previous.length === MAX_LOGIT_BIASES) {
    throw new InvalidArgumentError(`Give at most ${MAX_LOGIT_BIASES} biases.`);
  }
  return [...previous, [tokenId, biasOf(bias)]];
}

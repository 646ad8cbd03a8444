import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_TIME_LIMIT_MS, encodePrompt, generate } from '../client/generate.ts';
import type { GenerateEvent, GenerateRequest, GenerateResult, Prompt } from '../client/generate.ts';
import { queueWords } from '../client/queue-words.ts';
import { lossWords, rerouteWords } from '../client/reroute-words.ts';
import { LocalMesh } from '../contributor/local-mesh.ts';
import type { Precision } from '../engine/weight-format.ts';
import { requireTokenizer } from '../model/gguf/gguf-file.ts';
import { checkActivations } from '../model/int8-activations.ts';
import { openCheckpoint } from '../model/open-checkpoint.ts';
import { fileSourceFor } from '../model/open-source.ts';
import { quantizedCheckpoint } from '../model/quantize.ts';
import { SkeinError } from '../protocol/errors.ts';
import { ACTIVATIONS } from '../protocol/activations.ts';
import type { Activations } from '../protocol/activations.ts';
import { CACHE_FORMATS } from '../protocol/cache-format.ts';
import type { CacheFormat } from '../protocol/cache-format.ts';
import type { ActivationFormat } from '../protocol/frames.ts';
import type { ModelId } from '../protocol/ids.ts';
import { MAX_TIME_LIMIT_MS } from '../protocol/limits.ts';
import type { TokenLogProbability } from '../protocol/sampling.ts';
import { QUANTIZATIONS } from '../protocol/quantization.ts';
import type { Quantization } from '../protocol/quantization.ts';
import { Tokenizer } from '../tokenizer/tokenizer.ts';
import { seconds, wholeNumber } from './arguments.ts';
import { abortOnInterrupt } from './interrupt.ts';
import { openNodeDevice } from './node-device.ts';
import { ProgressLine } from './progress-line.ts';
import { addSamplingOptions, samplingOf } from './sampling-options.ts';
import type { SamplingOptions } from './sampling-options.ts';

export interface GenerateOptions extends SamplingOptions {
  readonly model: string;
  readonly prompt?: string;
  readonly chat?: string;
  readonly promptIds?: number[];
  readonly maxTokens: number;
  /** As milliseconds. */
  readonly timeLimit: number;
  readonly cuts: number[];
  readonly precision: Precision;
  readonly quantize: Quantization;
  readonly activations: Activations;
  readonly cache?: CacheFormat;
  readonly wire: ActivationFormat;
  readonly prefillChunk?: number;
  readonly adapter?: string;
  readonly json: boolean;
}

/** What `--top-logprobs` prints of a token. */
type TokenScores = TokenLogProbability & { readonly topLogProbabilities: readonly TokenLogProbability[] };

const MAX_U32 = 0xffff_ffff;

export function generateCommand(): Command {
  const command = new Command('generate')
    .description("Answer one prompt with this machine's GPU, without a server.")
    .requiredOption(
      '--model <dir-or-url>',
      'model folder, .gguf file, URL or hub id',
      'public/models/skein-tiny',
    )
    .option('--prompt <text>', 'text to continue, as it is')
    .option('--chat <text>', 'a message to answer, through the chat template')
    .option('--prompt-ids <ids>', 'token ids to continue, comma separated', parseIds)
    .option('--max-tokens <n>', 'tokens of the answer, at most', wholeNumber(1, MAX_U32), 128)
    .addOption(
      new Option('--time-limit <seconds>', 'the answer must be complete by then; loading does not count')
        .argParser(seconds(MAX_TIME_LIMIT_MS))
        .default(DEFAULT_TIME_LIMIT_MS, String(DEFAULT_TIME_LIMIT_MS / 1000)),
    );
  return addSamplingOptions(command)
    .option('--cuts <layers>', 'split into stages before these layers, e.g. 3,5', parseIds, [])
    .addOption(
      new Option('--quantize <format>', 'what to make of the weights when they are loaded')
        .choices(QUANTIZATIONS)
        .default('none'),
    )
    .addOption(new Option('--precision <p>', 'of weights').choices(['f32', 'f16']).default('f32'))
    .addOption(
      new Option('--cache <format>', 'how keys and values are kept (default: as --precision)').choices(
        CACHE_FORMATS,
      ),
    )
    .addOption(
      new Option('--activations <format>', 'what quantised matrices are multiplied with')
        .choices(ACTIVATIONS)
        .default('f32'),
    )
    .addOption(
      new Option('--wire <p>', 'of activations between stages').choices(['f16', 'f32']).default('f16'),
    )
    .option('--prefill-chunk <rows>', 'prompt tokens per pass', wholeNumber(1, MAX_U32))
    .option('--adapter <name>', "part of the GPU's name, where there are several")
    .option('--json', 'print one JSON object instead of streaming text', false)
    .addHelpText(
      'after',
      `
Examples:
  $ skein generate --chat "What is Skein?"
  $ skein generate --model ./my-model --prompt "Once upon" --temperature 0.8 --seed 7
  $ skein generate --chat "Say it again." --logit-bias 42=-100 --repetition-penalty 1.1 --top-logprobs 5 --json
  $ skein generate --chat "Count to 12." --cuts 3,5 --json      three stages, real frames between them`,
    )
    .action(runGenerate);
}

async function runGenerate(options: GenerateOptions): Promise<void> {
  const chosen = choosePrompt(options);
  checkSampling(options);
  const { signal, release } = abortOnInterrupt();
  const progress = new ProgressLine(process.stderr);
  const source = fileSourceFor(options.model);
  const ggufFile = await source.ggufFile(signal);
  if (ggufFile !== null) await requireTokenizer(source, ggufFile, signal);
  const [stored, tokenizer] = await Promise.all([
    openCheckpoint(source, signal),
    Tokenizer.load(source, signal),
  ]);
  const checkpoint = quantizedCheckpoint(stored, options.quantize);
  checkActivations(checkpoint, options.activations);
  const promptIds = encodePrompt(chosen, tokenizer);
  const device = await openNodeDevice({ adapter: options.adapter, activations: options.activations });
  const mesh = await LocalMesh.start({
    device,
    model: basename(options.model) as ModelId,
    checkpoint,
    cuts: options.cuts,
    precision: options.precision,
    ...(options.cache && { cacheFormat: options.cache }),
    activations: options.activations,
    wireFormat: options.wire,
    cacheTokens: promptIds.length + options.maxTokens,
    ...(options.prefillChunk !== undefined && { prefillChunkRows: options.prefillChunk }),
    signal,
    onProgress: ({ loadedBytes, totalBytes }) => progress.show('Loading', loadedBytes, totalBytes),
  });
  progress.clear();
  try {
    const { result, logProbabilities } = await stream(
      requestOf(options, mesh.model, { kind: 'ids', ids: promptIds }),
      options.json ? null : process.stdout,
      mesh,
      tokenizer,
      signal,
    );
    if (options.json) {
      const { tokenIds, text, finishReason, timeToFirstTokenMs, tokensPerSecond } = result;
      const { adapterName: adapter } = device;
      const words = { tokenIds, text, finishReason, timeToFirstTokenMs, tokensPerSecond, adapter };
      console.log(JSON.stringify(options.topLogprobs > 0 ? { ...words, logProbabilities } : words));
    }
  } finally {
    mesh.dispose();
    device.device.destroy();
    release();
  }
}

/** What the flags ask for. */
export function requestOf(options: GenerateOptions, model: ModelId, prompt: Prompt): GenerateRequest {
  const { maxTokens, timeLimit: timeLimitMs } = options;
  return { model, prompt, maxTokens, timeLimitMs, sampling: samplingOf(options) };
}

/** @param output shows the text as it comes. */
async function stream(
  request: GenerateRequest,
  output: NodeJS.WritableStream | null,
  mesh: LocalMesh,
  tokenizer: Tokenizer,
  signal: AbortSignal,
): Promise<{ result: GenerateResult; logProbabilities: TokenScores[] }> {
  const logProbabilities: TokenScores[] = [];
  const events = generate(
    request,
    {
      transport: mesh.transport,
      tokenizer,
      requestRoute: (query) => mesh.requestRoute(query),
      endRoute: () => undefined,
      now: () => performance.now(),
      sleep: (ms, abort) => sleep(ms, undefined, { signal: abort }),
    },
    signal,
  );
  for await (const event of events) {
    if (event.type === 'queued') process.stderr.write(`${queueWords(event.position)}\n`);
    if (event.type === 'waiting') process.stderr.write(`${waitingWords(event)}\n`);
    if (event.type === 'resumed') {
      for (const reroute of event.reroutes) process.stderr.write(`${rerouteWords(reroute)}\n`);
    }
    if (event.type === 'token') {
      const { tokenId, logProbability, topLogProbabilities } = event;
      logProbabilities.push({ tokenId, logProbability, topLogProbabilities });
      output?.write(event.text);
    }
    if (event.type === 'done') {
      output?.write('\n');
      return { result: event.result, logProbabilities };
    }
  }
  throw new SkeinError('internal', 'The generation ended without a result.');
}

function waitingWords({ reroute, error }: Extract<GenerateEvent, { type: 'waiting' }>): string {
  return reroute === null ? error.message : `${lossWords(reroute)}. Looking for another way…`;
}

/** Before a model is loaded for nothing. */
function checkSampling({ topLogprobs, json, minTokens, maxTokens }: GenerateOptions): void {
  if (topLogprobs > 0 && !json) {
    throw new SkeinError('bad-argument', '--top-logprobs is for programs to read: give --json too.');
  }
  if (minTokens > maxTokens) {
    throw new SkeinError(
      'bad-argument',
      `--min-tokens is ${minTokens} and --max-tokens ${maxTokens}. Ask for more tokens, or insist on fewer.`,
    );
  }
}

function choosePrompt({ prompt, chat, promptIds }: GenerateOptions): Prompt {
  const given: Prompt[] = [];
  if (prompt !== undefined) given.push({ kind: 'text', text: prompt });
  if (chat !== undefined) given.push({ kind: 'chat', messages: [{ role: 'user', content: chat }] });
  if (promptIds !== undefined) given.push({ kind: 'ids', ids: promptIds });
  const [only] = given;
  if (only === undefined || given.length > 1) {
    throw new SkeinError('bad-argument', 'Give exactly one of --prompt, --chat and --prompt-ids.');
  }
  return only;
}

function parseIds(text: string): number[] {
  return text.split(',').map((part) => {
    if (!/^\s*\d+\s*$/.test(part)) throw new InvalidArgumentError('Give whole numbers, comma separated.');
    return Number(part);
  });
}

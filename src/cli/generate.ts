import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_TIME_LIMIT_MS, encodePrompt, generate } from '../client/generate.ts';
import type { GenerateRequest, Prompt } from '../client/generate.ts';
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
import { QUANTIZATIONS } from '../protocol/quantization.ts';
import type { Quantization } from '../protocol/quantization.ts';
import { Tokenizer } from '../tokenizer/tokenizer.ts';
import { streamAnswer } from './answer-stream.ts';
import type { StreamedAnswer } from './answer-stream.ts';
import { seconds, wholeNumber } from './arguments.ts';
import { fingerprintOption } from './certificate-trust.ts';
import { endProcess } from './end-process.ts';
import { answerOverMesh, checkMeshOptions } from './generate-over-mesh.ts';
import { abortOnInterrupt } from './interrupt.ts';
import { openNodeDevice } from './node-device.ts';
import { ProgressLine } from './progress-line.ts';
import { addSamplingOptions, samplingOf } from './sampling-options.ts';
import type { SamplingOptions } from './sampling-options.ts';
import { serverOption } from './server-argument.ts';

export interface GenerateOptions extends SamplingOptions {
  readonly model: string;
  /** Of a mesh that is to answer; absent: this machine does. */
  readonly server?: string;
  readonly fingerprint?: string;
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
  /** Text of a JSON schema, or a file with one. */
  readonly jsonSchema?: string;
  readonly json: boolean;
}

const MAX_U32 = 0xffff_ffff;

export function generateCommand(): Command {
  const command = new Command('generate')
    .description("Answer one prompt, with this machine's GPU or over a mesh.")
    .requiredOption(
      '--model <dir-or-url>',
      'model folder, .gguf file, URL or hub id; with --server the name of one of its models',
      'public/models/skein-tiny',
    )
    .addOption(serverOption('let the mesh of this server answer, and not this machine'))
    .addOption(fingerprintOption())
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
    .option('--json-schema <file-or-text>', 'a JSON schema that the answer keeps to')
    .option('--json', 'print one JSON object instead of streaming text', false)
    .addHelpText(
      'after',
      `
Examples:
  $ skein generate --chat "What is Skein?"
  $ skein generate --model ./my-model --prompt "Once upon" --temperature 0.8 --seed 7
  $ skein generate --chat "Say it again." --logit-bias 42=-100 --repetition-penalty 1.1 --top-logprobs 5 --json
  $ skein generate --chat "Who are you?" --json-schema '{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}'
  $ skein generate --chat "Count to 12." --cuts 3,5 --json      three stages, real frames between them
  $ skein generate --server localhost:3000 --chat "Hello"       over a mesh, with the first model of its server
  $ skein generate --server https://mesh.example --model Qwen3-0.6B --prompt "Once upon" --json`,
    )
    .action(runGenerate);
}

async function runGenerate(options: GenerateOptions, command: Command): Promise<void> {
  const chosen = choosePrompt(options);
  checkSampling(options);
  if (options.server === undefined) await generateHere(options, chosen);
  else await generateOverMesh(options, options.server, chosen, command);
}

/** `--json` prints what `generateHere` does, with the model and the machines of the last route in place of the adapter. */
async function generateOverMesh(
  options: GenerateOptions,
  serverUrl: string,
  prompt: Prompt,
  command: Command,
): Promise<void> {
  checkMeshOptions(command);
  const { fingerprint, model, json } = options;
  const { signal, release } = abortOnInterrupt();
  const question = {
    serverUrl,
    ...(fingerprint !== undefined && { fingerprint }),
    model: command.getOptionValueSource('model') === 'default' ? null : model,
    request: (id: ModelId) => requestOf(options, id, prompt),
    output: json ? null : process.stdout,
  };
  const answer = await answerOverMesh(question, signal);
  release();
  const { route, result } = answer;
  const { reroutes } = result;
  if (json) console.log(answerJson(options, answer, { model: route?.model, hops: route?.hops, reroutes }));
  await endProcess(0);
}

async function generateHere(options: GenerateOptions, chosen: Prompt): Promise<void> {
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
    source,
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
    const request = requestOf(options, mesh.model, { kind: 'ids', ids: promptIds });
    const deps = {
      transport: mesh.transport,
      tokenizer,
      requestRoute: mesh.requestRoute.bind(mesh),
      endRoute: () => undefined,
      now: () => performance.now(),
      sleep: (ms: number, abort: AbortSignal) => sleep(ms, undefined, { signal: abort }),
    };
    const answer = await streamAnswer(generate(request, deps, signal), options.json ? null : process.stdout);
    if (options.json) console.log(answerJson(options, answer, { adapter: device.adapterName }));
  } finally {
    mesh.dispose();
    device.device.destroy();
    release();
  }
}

/** What the flags ask for. */
export function requestOf(options: GenerateOptions, model: ModelId, prompt: Prompt): GenerateRequest {
  const { maxTokens, timeLimit: timeLimitMs } = options;
  const constraint = options.jsonSchema === undefined ? undefined : schemaConstraint(options.jsonSchema);
  const sampling = samplingOf(options);
  return { model, prompt, maxTokens, timeLimitMs, sampling, ...(constraint !== undefined && { constraint }) };
}

/** @throws SkeinError `bad-argument` for what is neither a schema nor a file with one. */
function schemaConstraint(textOrFile: string): string {
  const isText = textOrFile.trimStart().startsWith('{');
  try {
    const schema: unknown = JSON.parse(isText ? textOrFile : readFileSync(textOrFile, 'utf8'));
    return JSON.stringify({ type: 'structural_tag', format: { type: 'json_schema', json_schema: schema } });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SkeinError(
      'bad-argument',
      `--json-schema: ${reason}. Give a JSON schema, or a file with one.`,
      {
        cause,
      },
    );
  }
}

/** @param by what answered. */
function answerJson(
  { topLogprobs }: GenerateOptions,
  { result, logProbabilities }: StreamedAnswer,
  by: object,
): string {
  const { tokenIds, text, finishReason, timeToFirstTokenMs, tokensPerSecond } = result;
  const words = { tokenIds, text, finishReason, timeToFirstTokenMs, tokensPerSecond, ...by };
  return JSON.stringify(topLogprobs > 0 ? { ...words, logProbabilities } : words);
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

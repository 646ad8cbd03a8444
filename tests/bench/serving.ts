import { fileURLToPath } from 'node:url';
import { LocalMesh } from '../../src/contributor/local-mesh.ts';
import type { LocalMeshOptions, LocalStage } from '../../src/contributor/local-mesh.ts';
import type { EngineDevice } from '../../src/engine/device.ts';
import type { StepTrace } from '../../src/engine/step-trace.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import { openCheckpoint } from '../../src/model/open-checkpoint.ts';
import type { ModelId } from '../../src/protocol/ids.ts';
import { writeRandomModel } from '../fixtures/random-model.ts';
import type { BenchOptions } from './bench-command.ts';
import { openBenchDevice } from './gpu.ts';
import { answer, randomPrompt } from './local-requests.ts';
import type { BenchAnswer, BenchRequest } from './local-requests.ts';
import { atLeast, benchReport, exactly } from './report.ts';
import type { BenchReport, Table } from './report.ts';
import { interleave, speedup } from './timing.ts';

const MODEL_FOLDER = fileURLToPath(new URL('../../public/models/skein-tiny', import.meta.url));
const REQUESTS = 32;

/** Tokens, from the shortest to the longest. */
interface Mix {
  readonly name: string;
  readonly prompt: readonly [least: number, most: number];
  readonly answer: readonly [least: number, most: number];
}

/**
 * Answers are twice as long as prompts. A turn has 94 and 348 tokens in the ShareGPT conversations and 296 and 441 in WildChat's, 3.7 and
 * 1.5 times as long (table 1 of arXiv 2405.01470). The bound holds for these.
 */
const CONVERSATIONS: Mix = { name: 'conversations', prompt: [8, 64], answer: [48, 96] };
/** Rows of prompts cost the same in any company, for they share passes when alone, too: the more of them, the less there is to gain. */
const LONG_PROMPTS: Mix = { name: 'long prompts', prompt: [8, 160], answer: [16, 48] };
/** Of either mix, at most. */
const LONGEST_REQUEST = 208;
/** Answers over the pipeline are of one length, so that there is a time in which all are on their way. */
const PIPELINE_PROMPT = 24;
const PIPELINE_ANSWER = 64;
const ROUNDS = 2;
/** Stages that take equally long, so that none has to wait for a slower one: the head costs about as much as a layer. */
const PIPELINE_LAYERS = 11;
const PIPELINE_CUTS = [4, 8];

/** Many requests together against one at a time, and how busy the stages of a pipeline are. */
export async function run({ onProgress }: BenchOptions): Promise<BenchReport> {
  const checkpoint = await openCheckpoint(new FolderSource(MODEL_FOLDER));
  const { vocabSize } = checkpoint.architecture;
  const device = await openBenchDevice();
  const options: LocalMeshOptions = {
    device,
    model: 'skein-tiny' as ModelId,
    checkpoint,
    cuts: [],
    precision: 'f32',
    wireFormat: 'f16',
    cacheTokens: REQUESTS * LONGEST_REQUEST,
  };
  const one = await LocalMesh.start(options);
  const mixes: MixTimes[] = [];
  for (const mix of [CONVERSATIONS, LONG_PROMPTS]) {
    onProgress(`Answering ${REQUESTS} requests (${mix.name}) one at a time and together …`);
    mixes.push(await timeMix(one, mix, mixedRequests(mix, vocabSize)));
  }
  one.dispose();
  const [conversations] = mixes;
  if (!conversations) throw new Error('two mixes have two times');

  onProgress('Answering as many over three stages …');
  const even = Array.from({ length: REQUESTS }, (_, index) => ({
    prompt: randomPrompt(PIPELINE_PROMPT, vocabSize, 1000 + index),
    answerTokens: PIPELINE_ANSWER,
  }));
  const stageDevices = await Promise.all([...PIPELINE_CUTS, 0].map(() => openBenchDevice()));
  const deeper = await writeRandomModel({
    architecture: { ...checkpoint.architecture, layerCount: PIPELINE_LAYERS },
    format: 'bf16',
  });
  const deepOptions: LocalMeshOptions = {
    ...options,
    checkpoint: await openCheckpoint(new FolderSource(deeper.folder)),
    // Random weights give close calls, which rounding on the way would decide otherwise.
    wireFormat: 'f32',
  };
  const whole = await LocalMesh.start(deepOptions);
  const expected = await allAtOnce(whole, even);
  whole.dispose();
  const pipeline = await LocalMesh.start({ ...deepOptions, cuts: PIPELINE_CUTS, stageDevices });
  await allAtOnce(pipeline, even);
  const answers = await allAtOnce(pipeline, even);
  const stages = busyShares(pipeline.stages, answers);
  pipeline.dispose();
  await deeper.remove();
  for (const { device: each } of [device, ...stageDevices] as EngineDevice[]) each.destroy();

  return benchReport(
    'serving',
    device.adapterName,
    [
      ...mixes.flatMap(({ mix: { name, prompt, answer }, throughput, passes }) => [
        {
          title: `${name}: ${REQUESTS} prompts of ${prompt.join(' to ')} tokens, answers of ${answer.join(' to ')}, on one stage`,
          rows: throughput,
        },
        { title: `${name}: passes of that stage, in the first round`, rows: passes },
      ]),
      {
        title: `${REQUESTS} requests in flight over three stages with random weights, each with its own device on the same processor: busy is the share of time with a forward pass under way, from planning to read-back, while all requests are on their way`,
        rows: stages,
      },
    ],
    [
      exactly(
        'answers that differ together from alone',
        mixes.reduce((sum, { differing: count }) => sum + count, 0),
        0,
      ),
      exactly('answers that differ over three stages from one', differing(expected, answers), 0),
      atLeast(`${conversations.mix.name}: throughput together / one at a time`, conversations.gain, 4),
      ...stages.map(({ stage, 'busy share': share }) => atLeast(`busy share of stage ${stage}`, share, 0.8)),
    ],
  );
}

interface MixTimes {
  readonly mix: Mix;
  readonly throughput: Table['rows'];
  readonly passes: Table['rows'];
  /** How many times the throughput of one at a time. */
  readonly gain: number;
  /** Answers that are others in company than alone. */
  readonly differing: number;
}

async function timeMix(mesh: LocalMesh, mix: Mix, requests: readonly BenchRequest[]): Promise<MixTimes> {
  const alone = observed('one at a time', mesh, () => oneByOne(mesh, requests));
  const together = observed('together', mesh, () => allAtOnce(mesh, requests));
  const timings = await interleave([alone, together], { rounds: ROUNDS, warmUps: 0 });
  const [serial, batched] = timings;
  if (!serial || !batched) throw new Error('two contenders have two timings');
  const gain = speedup(batched, serial);
  const generated = requests.reduce((sum, { answerTokens }) => sum + answerTokens, 0);
  return {
    mix,
    throughput: timings.map(({ name, medianMs }) => ({
      requests: name,
      'median ms': medianMs,
      'answer tokens/s': (generated / medianMs) * 1000,
      'of one at a time': serial.medianMs / medianMs,
    })),
    passes: [alone, together].map(({ name, first }) => ({ requests: name, ...first().passes })),
    gain,
    differing: differing(alone.first().answers, together.first().answers),
  };
}

interface ObservedRound {
  readonly answers: readonly BenchAnswer[];
  readonly passes: Table['rows'][number];
}

/** A contender that keeps what it did in its first round. */
function observed(name: string, mesh: LocalMesh, action: () => Promise<readonly BenchAnswer[]>) {
  let observedRound: ObservedRound | null = null;
  return {
    name,
    run: async () => {
      const startMs = performance.now();
      const answers = await action();
      const endMs = performance.now();
      observedRound ??= { answers, passes: passCosts(mesh.stages, startMs, endMs) };
      return endMs - startMs;
    },
    first: () => {
      if (observedRound === null) throw new Error(`${name} has not run`);
      return observedRound;
    },
  };
}

/** Prompts and answers of every length between the shortest and the longest, in no order. */
function mixedRequests({ prompt, answer: answers }: Mix, vocabSize: number): BenchRequest[] {
  const between = ([least, most]: readonly [number, number], index: number) =>
    least + Math.round(((most - least) * index) / (REQUESTS - 1));
  return Array.from({ length: REQUESTS }, (_, index) => ({
    prompt: randomPrompt(between(prompt, (index * 13) % REQUESTS), vocabSize, index),
    answerTokens: between(answers, (index * 7) % REQUESTS),
  }));
}

/** As a requester that nothing is cached for, every time. */
async function oneByOne(mesh: LocalMesh, requests: readonly BenchRequest[]): Promise<BenchAnswer[]> {
  const requester = mesh.newRequester();
  const answers: BenchAnswer[] = [];
  for (const request of requests) answers.push(await answer(mesh, requester, request));
  return answers;
}

async function allAtOnce(mesh: LocalMesh, requests: readonly BenchRequest[]): Promise<BenchAnswer[]> {
  const requester = mesh.newRequester();
  return Promise.all(requests.map((request) => answer(mesh, requester, request)));
}

function differing(expected: readonly BenchAnswer[], actual: readonly BenchAnswer[]): number {
  return expected.filter(({ tokenIds }, index) => tokenIds.join() !== actual[index]?.tokenIds.join()).length;
}

/** What passes cost between two times: those that only decode, and those with rows of prompts. */
function passCosts(stages: readonly LocalStage[], fromMs: number, toMs: number) {
  const steps = stages
    .flatMap(({ trace }) => trace)
    .filter(({ startMs }) => startMs >= fromMs && startMs < toMs);
  const costOf = (chosen: readonly StepTrace[]) => {
    const count = chosen.length;
    const rows = chosen.reduce((sum, step) => sum + step.rows, 0);
    const busyMs = chosen.reduce((sum, { startMs, endMs }) => sum + endMs - startMs, 0);
    return { count, rows: rows / count, busyMs };
  };
  const decode = costOf(steps.filter(({ rows, sequences }) => rows === sequences));
  const prompts = costOf(steps.filter(({ rows, sequences }) => rows > sequences));
  return {
    'decode passes': decode.count,
    'rows each': decode.rows,
    'ms each': decode.busyMs / decode.count,
    'passes with prompts': prompts.count,
    'rows of each': prompts.rows,
    'ms of each': prompts.busyMs / prompts.count,
    'ms of all': decode.busyMs + prompts.busyMs,
  };
}

/** Over the time in which every request decodes: from the last first token to the first end. */
function busyShares(stages: readonly LocalStage[], answers: readonly BenchAnswer[]) {
  const from = Math.max(...answers.map(({ firstTokenMs }) => firstTokenMs));
  const to = Math.min(...answers.map(({ endMs }) => endMs));
  return stages.map(({ hop, trace }, index) => {
    const steps = trace.filter(({ startMs, endMs }) => endMs > from && startMs < to);
    const busyMs = steps.reduce(
      (sum, { startMs, endMs }) => sum + Math.min(endMs, to) - Math.max(startMs, from),
      0,
    );
    const rows = steps.reduce((sum, step) => sum + step.rows, 0);
    return {
      stage: index,
      layers: `${hop.layerStart} to ${hop.layerEnd}`,
      'busy share': busyMs / (to - from),
      passes: steps.length,
      'rows per pass': rows / steps.length,
      'ms per pass': busyMs / steps.length,
      'observed ms': to - from,
    };
  });
}

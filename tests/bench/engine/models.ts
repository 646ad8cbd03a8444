import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Architecture } from '../../../src/model/architecture.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { writeRandomModel } from '../../fixtures/random-model.ts';
import type { Golden } from '../../golden/golden-file.ts';
import type { ModelFolder } from '../../fixtures/random-model.ts';

export interface BenchModel {
  readonly name: string;
  /** Makes the model unless it is there already. */
  prepare(): Promise<PreparedModel>;
}

export interface PreparedModel {
  readonly folder: string;
  readonly prompt: readonly number[];
  /** Tokens compared after the prompt: few where the other engine takes ten seconds for each. */
  readonly answerTokens: number;
  /** What the weights as they are must answer, from another implementation still; null for random weights. */
  readonly golden: readonly number[] | null;
  /** Removes what was made. */
  remove(): Promise<void>;
}

const EMBEDDED_MODEL = resolve(import.meta.dirname, '../../../public/models/skein-tiny');
const SKEIN_TINY_ANSWER_TOKENS = 8;
const LLAMA_ANSWER_TOKENS = 2;

/** 100 million parameters, tied. Its numbers mean nothing; its sizes are those of a small chat model. */
const LLAMA_100M: Architecture = {
  family: 'llama',
  layerCount: 12,
  hiddenSize: 768,
  intermediateSize: 2048,
  headCount: 12,
  kvHeadCount: 4,
  headDim: 64,
  vocabSize: 32_000,
  rmsNormEpsilon: 1e-5,
  ropeTheta: 10_000,
  ropeScaling: null,
  qkvBias: false,
  qkNorm: false,
  slidingWindow: null,
  tiedEmbedding: true,
  contextLength: 2048,
};

export const BENCH_MODELS: readonly BenchModel[] = [
  { name: 'skein-tiny', prepare: prepareSkeinTiny },
  { name: 'llama-100m', prepare: prepareLlama },
];

async function prepareSkeinTiny(): Promise<PreparedModel> {
  const { cases } = JSON.parse(await readFile(join(EMBEDDED_MODEL, 'golden.json'), 'utf8')) as Golden;
  const [first] = cases;
  if (first === undefined) throw new SkeinError('model-corrupt', 'golden.json has no cases.');
  const golden = first.greedy_ids.slice(0, SKEIN_TINY_ANSWER_TOKENS);
  return {
    folder: EMBEDDED_MODEL,
    prompt: first.prompt_ids,
    answerTokens: golden.length,
    golden,
    remove: () => Promise.resolve(),
  };
}

async function prepareLlama(): Promise<PreparedModel> {
  const made = await writeRandomModel({ architecture: LLAMA_100M, format: 'f32' });
  const prompt = Array.from({ length: 12 }, (_, index) => (index * 1999) % LLAMA_100M.vocabSize);
  return {
    folder: made.folder,
    prompt,
    answerTokens: LLAMA_ANSWER_TOKENS,
    golden: null,
    remove: () => made.remove(),
  };
}

/** A new temporary folder for graphs. */
export async function temporaryFolder(): Promise<ModelFolder> {
  const folder = await mkdtemp(join(tmpdir(), 'skein-bench-'));
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

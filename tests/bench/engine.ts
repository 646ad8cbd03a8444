import { FolderSource } from '../../src/model/folder-source.ts';
import { openCheckpoint } from '../../src/model/open-checkpoint.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { BenchOptions } from './bench-command.ts';
import { openBenchBrowser } from './engine/browser.ts';
import type { BenchBrowser } from './engine/browser.ts';
import { caseChecks, caseRows } from './engine/case-report.ts';
import type { EngineTable } from './engine/case-report.ts';
import { BENCH_MODELS, temporaryFolder } from './engine/models.ts';
import type { BenchModel, PreparedModel } from './engine/models.ts';
import { WEIGHT_VARIANTS, weightVariant } from './engine/weight-variant.ts';
import type { WeightVariant } from './engine/weight-variant.ts';
import type { EngineCaseResult } from './engine/worker.ts';
import { modelCost } from './engine/model-cost.ts';
import { writeOnnx } from './onnx/write-onnx.ts';
import { benchReport } from './report.ts';
import type { BenchReport, Check } from './report.ts';

export interface EngineOptions extends BenchOptions {
  /** Part of the names of the cases to run; all without it. */
  readonly only?: string;
}

const CONTEXT_TOKENS = 64;
const PREFILL_TOKENS = 128;
const MAX_POSITIONS = 256;
const ROUNDS = 3;
/** Per measurement: on a software adapter the other engine needs a minute for one prompt of the larger model. */
const BUDGET_MS = 20_000;

const ORT = 'ONNX Runtime';
/** MatMulNBits's accuracy level: as ONNX Runtime chooses, and 4, which lets it round activations to 8 bits. */
const GRAPHS: Readonly<Record<WeightVariant, readonly { name: string; accuracyLevel: number | null }[]>> = {
  f32: [{ name: ORT, accuracyLevel: null }],
  int4: [
    { name: ORT, accuracyLevel: null },
    { name: `${ORT}, accuracy 4`, accuracyLevel: 4 },
  ],
};

/** Our engine against ONNX Runtime Web on the same weights, in one Chromium, on one adapter, in turn. */
export async function run(options: EngineOptions): Promise<BenchReport> {
  const { driver, onProgress } = options;
  const wanted = BENCH_MODELS.map((model) => ({
    model,
    variants: WEIGHT_VARIANTS.filter((variant) => caseName(model, variant).includes(options.only ?? '')),
  })).filter(({ variants }) => variants.length > 0);
  if (wanted.length === 0) {
    const names = BENCH_MODELS.flatMap((model) => WEIGHT_VARIANTS.map((variant) => caseName(model, variant)));
    throw new SkeinError(
      'bad-argument',
      `No case is called "${options.only ?? ''}". There are: ${names.join(', ')}.`,
    );
  }
  const browser = await openBenchBrowser(driver === 'native' ? 'native' : 'swiftshader', onProgress);
  const rows: EngineTable = [];
  const checks: Check[] = [];
  let adapterName = '';
  try {
    for (const { model, variants } of wanted) {
      onProgress(`${model.name}: prepares`);
      const prepared = await model.prepare();
      try {
        for (const variant of variants) {
          const name = caseName(model, variant);
          onProgress(name);
          const { result, cost } = await runCase(browser, prepared, variant);
          adapterName = result.adapterName;
          rows.push(...caseRows(name, result, cost));
          // The golden tokens are those of the weights as they are.
          checks.push(...caseChecks(name, result, variant === 'f32' ? prepared.golden : null));
        }
      } finally {
        await prepared.remove();
      }
    }
  } finally {
    await browser.close();
  }
  const title = `Decode at ${CONTEXT_TOKENS} tokens of context, prefill of ${PREFILL_TOKENS}; medians`;
  return benchReport('engine', `${adapterName}, Chromium ${browser.version}`, [{ title, rows }], checks);
}

const caseName = ({ name }: BenchModel, variant: WeightVariant) => `${name} ${variant}`;

async function runCase(
  browser: BenchBrowser,
  { folder, prompt, answerTokens }: PreparedModel,
  variant: WeightVariant,
) {
  const graphs = await temporaryFolder();
  try {
    const checkpoint = await openCheckpoint(new FolderSource(folder));
    const held = weightVariant(checkpoint, variant);
    for (const [index, { accuracyLevel }] of GRAPHS[variant].entries()) {
      await writeOnnx(graphs.folder, `graph-${index}`, {
        checkpoint: held,
        maxPositions: MAX_POSITIONS,
        accuracyLevel,
      });
    }
    const result: EngineCaseResult = await browser.run({
      modelUrl: browser.urlOf(folder),
      variant,
      graphs: GRAPHS[variant].map(({ name }, index) => ({
        name,
        url: new URL(`graph-${index}.onnx`, browser.urlOf(graphs.folder)).href,
      })),
      maxPositions: MAX_POSITIONS,
      prompt,
      answerTokens,
      contextTokens: CONTEXT_TOKENS,
      prefillTokens: PREFILL_TOKENS,
      rounds: ROUNDS,
      budgetMs: BUDGET_MS,
    });
    return { result, cost: await modelCost(held, variant, PREFILL_TOKENS) };
  } finally {
    await graphs.remove();
  }
}

/**
 * Makes `long-questions.json`: prompts that take several passes, and answers that take seconds, which golden.json has none of.
 * A stage alone answers them; the float64 oracle then reads prompt and answer in one pass and says whether every token is the most
 * probable one, and by how much. Run by hand: `node --import tsx --import ./src/cli/wgsl-loader.mjs tests/chaos/make-long-questions.ts`.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { openNodeDevice } from '../../src/cli/node-device.ts';
import { LocalMesh } from '../../src/contributor/local-mesh.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import { openCheckpoint } from '../../src/model/open-checkpoint.ts';
import type { ModelId } from '../../src/protocol/ids.ts';
import { sampling } from '../../src/protocol/sampling.ts';
import { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { answerTokens } from '../golden/answer.ts';
import { asPrompt } from '../golden/golden-file.ts';
import type { Golden } from '../golden/golden-file.ts';
import { loadReferenceWeights } from '../reference/load-weights.ts';
import { referenceForward } from '../reference/transformer.ts';
import { EMBEDDED_MODEL } from '../rig/local-server.ts';
import { selectDriver } from '../rig/select-driver.ts';
import type { Question } from './questions.ts';

const OUTPUT = resolve(import.meta.dirname, 'long-questions.json');
/** Rounded activations move a logit by a few hundredths. */
const LEAST_MARGIN = 0.05;
const CACHE_TOKENS = 2048;

/** Prompts of so many tokens, and answers of so many. */
const SHAPES: readonly (readonly [promptTokens: number, answerTokens: number])[] = [
  [40, 96],
  [60, 64],
  [300, 48],
  [600, 32],
  [1100, 24],
  [1400, 24],
];
/** Beginnings that are tried for each shape until one has the margin. */
const TRIES = 24;
const WORD_TOKENS = 8;

if (process.platform === 'linux') selectDriver('lavapipe');
const golden = JSON.parse(await readFile(join(EMBEDDED_MODEL, 'golden.json'), 'utf8')) as Golden;
const source = new FolderSource(EMBEDDED_MODEL);
const tokenizer = await Tokenizer.load(source);
const checkpoint = await openCheckpoint(source);
const weights = await loadReferenceWeights(checkpoint);
const { vocabSize } = weights.architecture;
const device = await openNodeDevice();
const mesh = await LocalMesh.start({
  device,
  model: 'skein-tiny' as ModelId,
  checkpoint,
  cuts: [],
  precision: 'f32',
  wireFormat: 'f16',
  cacheTokens: CACHE_TOKENS,
});

const questions: Question[] = [];
for (const [promptTokens, answerLength] of SHAPES) {
  for (let first = 0; first < TRIES; first++) {
    const promptIds = promptFrom(first, promptTokens);
    const params = sampling({ minTokens: answerLength });
    const answerIds = await answerTokens(mesh, tokenizer, asPrompt(promptIds), answerLength, params);
    const margin = smallestMargin(promptIds, answerIds);
    console.error(`${promptTokens} + ${answerLength} from text ${first}: margin ${margin.toFixed(4)}`);
    if (margin < LEAST_MARGIN) continue;
    const name = `${promptTokens} tokens, ${answerLength} to answer`;
    questions.push({ name, promptIds, answerIds, minTokens: answerLength });
    break;
  }
}
await writeFile(OUTPUT, `${JSON.stringify(questions)}\n`);
// WebGPU keeps threads of its own.
process.exit(questions.length === SHAPES.length ? 0 : 1);

/** Held-out texts one after the other, or the beginning of one over and over: the model is surer of some than of others. */
function promptFrom(first: number, length: number): number[] {
  const { texts } = golden.heldout;
  const textAt = (index: number) => tokenizer.encode(texts[index % texts.length] ?? '');
  const words =
    first % 2 === 0
      ? texts.flatMap((_, index) => textAt(first + index))
      : textAt(first).slice(0, WORD_TOKENS);
  return Array.from({ length }, (_, index) => words[index % words.length] ?? 0);
}

/** How much more probable each token is than the next best that was allowed; negative where it is not the best. */
function smallestMargin(promptIds: readonly number[], answerIds: readonly number[]): number {
  const { logits } = referenceForward(weights, [...promptIds, ...answerIds.slice(0, -1)]);
  const banned = new Set(tokenizer.stopTokenIds);
  let least = Infinity;
  answerIds.forEach((answer, index) => {
    const row = promptIds.length - 1 + index;
    const ofRow = logits.subarray(row * vocabSize, (row + 1) * vocabSize);
    let best = -Infinity;
    ofRow.forEach((logit, token) => {
      // The last token is sampled when the least length is not reached yet either.
      if (token !== answer && !banned.has(token)) best = Math.max(best, logit);
    });
    least = Math.min(least, (ofRow[answer] ?? -Infinity) - best);
  });
  return least;
}

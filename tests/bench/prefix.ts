import { fileURLToPath } from 'node:url';
import { LocalMesh } from '../../src/contributor/local-mesh.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import { openCheckpoint } from '../../src/model/open-checkpoint.ts';
import type { ModelId } from '../../src/protocol/ids.ts';
import type { BenchOptions } from './bench-command.ts';
import { openBenchDevice } from './gpu.ts';
import { answer, randomPrompt } from './local-requests.ts';
import type { BenchAnswer } from './local-requests.ts';
import { atMost, benchReport, exactly } from './report.ts';
import type { BenchReport, Check } from './report.ts';
import { median } from './timing.ts';

const MODEL_FOLDER = fileURLToPath(new URL('../../public/models/skein-tiny', import.meta.url));
const SHARED_TOKENS = 256;
const OWN_TOKENS = 16;
const ANSWER_TOKENS = 8;
const ROUNDS = 5;
const CACHE_TOKENS = 4096;
/** Layers of the 8 at which a stage begins. */
const CUTS: readonly (readonly number[])[] = [[], [3, 6]];

/** Time to the first token of two prompts that begin alike, the second asked after the first. */
export async function run({ onProgress }: BenchOptions): Promise<BenchReport> {
  const checkpoint = await openCheckpoint(new FolderSource(MODEL_FOLDER));
  const { vocabSize } = checkpoint.architecture;
  const device = await openBenchDevice();
  const rows = [];
  const checks: Check[] = [];
  for (const cuts of CUTS) {
    const stages = cuts.length === 0 ? 'one stage' : `${cuts.length + 1} stages`;
    onProgress(`Asking twice over ${stages} …`);
    const mesh = await LocalMesh.start({
      device,
      model: 'skein-tiny' as ModelId,
      checkpoint,
      cuts,
      precision: 'f32',
      wireFormat: 'f16',
      cacheTokens: CACHE_TOKENS,
    });
    await askTwice(mesh, vocabSize, ROUNDS);
    const pairs = [];
    for (let round = 0; round < ROUNDS; round++) pairs.push(await askTwice(mesh, vocabSize, round));
    mesh.dispose();
    const firstMs = median(pairs.map(({ first }) => timeToFirstTokenMs(first)));
    const secondMs = median(pairs.map(({ second }) => timeToFirstTokenMs(second)));
    rows.push({
      route: stages,
      'first, ms': firstMs,
      'second, ms': secondMs,
      'second / first': secondMs / firstMs,
      'cached of the second': median(pairs.map(({ second }) => second.cachedTokens)),
    });
    checks.push(
      exactly(`answers over ${stages} that differ from those of empty caches`, countWrong(pairs), 0),
      exactly(
        `second prompts over ${stages} that were not cached as far as they are shared`,
        pairs.filter(({ second }) => second.cachedTokens !== SHARED_TOKENS).length,
        0,
      ),
      atMost(`time to first token over ${stages}, second / first`, secondMs / firstMs, 0.25),
    );
  }
  device.device.destroy();
  const title = `Time to first token of prompts of ${SHARED_TOKENS + OWN_TOKENS} tokens that share ${SHARED_TOKENS}, medians of ${ROUNDS}`;
  return benchReport('prefix', device.adapterName, [{ title, rows }], checks);
}

interface Pair {
  readonly first: BenchAnswer;
  readonly second: BenchAnswer;
  /** The answer to the second prompt by caches that know nothing of it. */
  readonly uncached: BenchAnswer;
}

async function askTwice(mesh: LocalMesh, vocabSize: number, round: number): Promise<Pair> {
  const requester = mesh.newRequester();
  const shared = randomPrompt(SHARED_TOKENS, vocabSize, round);
  const promptOf = (seed: number) => ({
    prompt: [...shared, ...randomPrompt(OWN_TOKENS, vocabSize, seed)],
    answerTokens: ANSWER_TOKENS,
  });
  const first = await answer(mesh, requester, promptOf(1000 + round));
  const second = await answer(mesh, requester, promptOf(2000 + round));
  const uncached = await answer(mesh, mesh.newRequester(), promptOf(2000 + round));
  return { first, second, uncached };
}

function timeToFirstTokenMs({ startMs, firstTokenMs }: BenchAnswer): number {
  return firstTokenMs - startMs;
}

function countWrong(pairs: readonly Pair[]): number {
  const isWrong = ({ second, uncached }: Pair) =>
    uncached.cachedTokens !== 0 || second.tokenIds.join() !== uncached.tokenIds.join();
  return pairs.filter(isWrong).length;
}

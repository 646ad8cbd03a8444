import { LocalMesh } from '../../../src/contributor/local-mesh.ts';
import { requestEngineDevice } from '../../../src/engine/device.ts';
import { HttpSource } from '../../../src/model/http-source.ts';
import { openCheckpoint } from '../../../src/model/open-checkpoint.ts';
import type { ModelId } from '../../../src/protocol/ids.ts';
import { Tokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { answerTokens } from '../../golden/answer.ts';
import { asPrompt, GOLDEN_MAX_TOKENS } from '../../golden/golden-file.ts';

export interface GoldenTask {
  readonly modelUrl: string;
  readonly cuts: readonly number[];
  readonly prompts: readonly (readonly number[])[];
}

export interface GoldenAnswers {
  readonly adapter: string;
  readonly answers: readonly (readonly number[])[];
}

self.onmessage = (event: MessageEvent<GoldenTask>) => {
  answer(event.data).then(
    (answers) => self.postMessage(answers),
    (error: unknown) => self.postMessage({ error: String(error) }),
  );
};

async function answer({ modelUrl, cuts, prompts }: GoldenTask): Promise<GoldenAnswers> {
  const source = new HttpSource(modelUrl);
  const device = await requestEngineDevice(navigator.gpu);
  const tokenizer = await Tokenizer.load(source);
  const mesh = await LocalMesh.start({
    device,
    model: 'skein-tiny' as ModelId,
    checkpoint: await openCheckpoint(source),
    cuts,
    precision: 'f32',
    wireFormat: 'f16',
    cacheTokens: 1024,
  });
  const answers: (readonly number[])[] = [];
  for (const prompt of prompts) {
    answers.push(await answerTokens(mesh, tokenizer, asPrompt(prompt), GOLDEN_MAX_TOKENS));
  }
  return { adapter: device.adapterName, answers };
}

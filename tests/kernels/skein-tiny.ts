import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { LocalMesh } from '../../src/contributor/local-mesh.ts';
import type { LocalMeshOptions } from '../../src/contributor/local-mesh.ts';
import type { Checkpoint } from '../../src/model/checkpoint.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import { openCheckpoint } from '../../src/model/open-checkpoint.ts';
import type { ModelId } from '../../src/protocol/ids.ts';
import { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import type { Golden } from '../golden/golden-file.ts';
import { openTestGpu } from './gpu.ts';
import type { TestGpu } from './gpu.ts';

const folder = fileURLToPath(new URL('../../public/models/skein-tiny', import.meta.url));

/** The embedded model on the adapter under test. */
export interface SkeinTiny {
  readonly gpu: TestGpu;
  readonly golden: Golden;
  readonly checkpoint: Checkpoint;
  readonly tokenizer: Tokenizer;
  mesh(
    options: Partial<
      Pick<
        LocalMeshOptions,
        'cuts' | 'precision' | 'cacheFormat' | 'cacheTokens' | 'wireFormat' | 'prefillChunkRows' | 'compiler'
      >
    >,
  ): Promise<LocalMesh>;
}

export async function openSkeinTiny(): Promise<SkeinTiny> {
  const source = new FolderSource(folder);
  const gpu = await openTestGpu();
  const checkpoint = await openCheckpoint(source);
  return {
    gpu,
    checkpoint,
    golden: JSON.parse(await readFile(`${folder}/golden.json`, 'utf8')) as Golden,
    tokenizer: await Tokenizer.load(source),
    mesh: (options) =>
      LocalMesh.start({
        device: gpu.engine,
        model: 'skein-tiny' as ModelId,
        checkpoint,
        source,
        cuts: [],
        precision: 'f32',
        wireFormat: 'f16',
        cacheTokens: 4096,
        ...options,
      }),
  };
}

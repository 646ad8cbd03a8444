import { BLOCK_TOKENS } from '../../../src/engine/batch.ts';
import type { HeadRequest } from '../../../src/engine/batch.ts';
import type { EngineDevice } from '../../../src/engine/device.ts';
import { GpuSlice } from '../../../src/engine/gpu-slice.ts';
import type { Checkpoint } from '../../../src/model/checkpoint.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { GREEDY } from '../../../src/protocol/sampling.ts';
import type { Decoder } from './decoder.ts';

/** The whole model in one slice, as a tab alone would run it. */
export class SliceDecoder implements Decoder {
  readonly name = 'Skein';
  readonly #blockTable: readonly number[];

  private constructor(private readonly slice: GpuSlice) {
    this.#blockTable = Array.from({ length: slice.blockCount }, (_, block) => block);
  }

  static async load(
    device: EngineDevice,
    checkpoint: Checkpoint,
    cacheTokens: number,
  ): Promise<SliceDecoder> {
    const slice = await GpuSlice.load({
      device,
      checkpoint,
      slice: { layerStart: 0, layerEnd: checkpoint.architecture.layerCount },
      precision: 'f32',
      cacheTokens,
      maxBatchRows: cacheTokens,
    });
    return new SliceDecoder(slice);
  }

  prefill(ids: readonly number[]): Promise<number> {
    return this.#token(ids, 0);
  }

  decode(id: number, position: number): Promise<number> {
    return this.#token([id], position);
  }

  async logits(ids: readonly number[]): Promise<Float32Array> {
    const before = ids.slice(0, -1);
    if (before.length > 0) await this.#forward(before, 0, { kind: 'none' });
    const result = await this.#forward(ids.slice(-1), before.length, { kind: 'logits' });
    if (result?.kind !== 'logits') throw new SkeinError('internal', 'There are no logits.');
    return result.values;
  }

  dispose(): Promise<void> {
    this.slice.dispose();
    return Promise.resolve();
  }

  async #token(ids: readonly number[], position: number): Promise<number> {
    const result = await this.#forward(ids, position, { kind: 'sample', params: GREEDY });
    if (result?.kind !== 'token') throw new SkeinError('internal', 'There is no token.');
    return result.tokenId;
  }

  async #forward(ids: readonly number[], position: number, head: HeadRequest) {
    const blocks = Math.ceil((position + ids.length) / BLOCK_TOKENS);
    const { sequences } = await this.slice.forward({
      sequences: [
        {
          rowCount: ids.length,
          cacheLength: position,
          blockTable: this.#blockTable.slice(0, blocks),
          head,
        },
      ],
      input: { kind: 'tokens', tokenIds: Uint32Array.from(ids) },
    });
    return sequences[0];
  }
}

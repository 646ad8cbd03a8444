import { beforeAll, expect, it } from 'vitest';
import { GpuSlice } from '../../src/engine/gpu-slice.ts';
import { relativeError } from '../reference/relative-error.ts';
import { openSkeinTiny } from './skein-tiny.ts';
import type { SkeinTiny } from './skein-tiny.ts';

/** The acceptance bounds; f32 is measured around 1e-6, f16 rounds the cache to 11 bits. */
const TOLERANCE = { f32: 1e-3, f16: 2e-2 } as const;
const BLOCK_TABLE = [0, 1, 2, 3];

let tiny: SkeinTiny;
beforeAll(async () => {
  tiny = await openSkeinTiny();
});

it.each(['f32', 'f16'] as const)(
  'the probe: logits and the hidden state after every layer, at %s',
  async (precision) => {
    const { checkpoint, golden, gpu } = tiny;
    const { layerCount, hiddenSize, vocabSize } = checkpoint.architecture;
    const { ids, hidden_last_by_layer, logits_last } = golden.probe;
    let values: Float32Array | null = null;
    let logits: ArrayLike<number> = [];
    for (let layer = 0; layer < layerCount; layer++) {
      const slice: GpuSlice = await GpuSlice.load({
        device: gpu.engine,
        checkpoint,
        slice: { layerStart: layer, layerEnd: layer + 1 },
        precision,
        cacheTokens: 64,
      });
      const result = await slice.forward({
        sequences: [
          { rowCount: ids.length, cacheLength: 0, blockTable: BLOCK_TABLE, head: { kind: 'logits' } },
        ],
        input: values ? { kind: 'activations', values } : { kind: 'tokens', tokenIds: Uint32Array.from(ids) },
      });
      slice.dispose();
      values = result.hiddenStates;
      if (values) {
        const error = relativeError(values.subarray(-hiddenSize), hidden_last_by_layer[layer + 1] ?? []);
        expect(error, `after layer ${layer}`).toBeLessThan(TOLERANCE[precision]);
      }
      const [head] = result.sequences;
      if (head?.kind === 'logits') logits = head.values.subarray(-vocabSize);
    }
    expect(relativeError(logits, logits_last), 'logits').toBeLessThan(TOLERANCE[precision]);
  },
);

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decoderGraph } from './decoder-graph.ts';
import type { DecoderGraphOptions } from './decoder-graph.ts';
import { encodeModel } from './onnx-model.ts';
import { WeightsFile } from './weights-file.ts';

/** Writes `<name>.onnx` and its weights, `<name>.onnx.data`, into the folder. */
export async function writeOnnx(
  folder: string,
  name: string,
  options: Omit<DecoderGraphOptions, 'weights'>,
): Promise<void> {
  const weights = await WeightsFile.create(folder, `${name}.onnx.data`);
  try {
    const graph = await decoderGraph({ ...options, weights });
    await writeFile(join(folder, `${name}.onnx`), encodeModel(graph));
  } finally {
    await weights.close();
  }
}

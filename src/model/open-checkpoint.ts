import { SkeinError } from '../protocol/errors.ts';
import { parseArchitecture } from './config.ts';
import { describeFile, missingFile } from './model-path.ts';
import { readJsonFile } from './read-file.ts';
import { tensorFormat } from './safetensors.ts';
import { WeightFiles } from './weight-files.ts';
import { openGgufCheckpoint } from './gguf/gguf-checkpoint.ts';
import { parseQuantization } from './formats/quantization-config.ts';
import { StoredMatrices } from './formats/stored-matrices.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { FileSource } from './file-source.ts';
import type { LocatedTensor } from './weight-files.ts';

const CONFIG_FILE = 'config.json';

/**
 * Opens a Hugging Face model folder: config.json, then `model.safetensors` or the shards of `model.safetensors.index.json`; or one
 * whose model is a GGUF file, which says everything itself.
 * @throws SkeinError `model-missing`, `model-corrupt` or `model-unsupported`, naming the file and the field.
 */
export async function openCheckpoint(source: FileSource, signal?: AbortSignal): Promise<Checkpoint> {
  const ggufFile = await source.ggufFile(signal);
  if (ggufFile !== null) return openGgufCheckpoint(source, ggufFile, signal);
  const config = await readJsonFile(source, CONFIG_FILE, signal);
  if (config === undefined) {
    throw missingFile(source, CONFIG_FILE, 'does not exist. A model is a folder in the Hugging Face layout.');
  }
  const architecture = parseArchitecture(config, describeFile(source, CONFIG_FILE));
  const format = parseQuantization(config, describeFile(source, CONFIG_FILE));
  const files = await WeightFiles.open(source, signal);
  const matrices = format && new StoredMatrices(format, files);
  return {
    architecture,
    quantization: format?.label ?? null,
    has: (name) => files.pathByTensor.has(name) || matrices?.holds(name) === true,
    async sizeBytes(name, signal) {
      if (matrices?.holds(name) === true) return matrices.sizeBytes(name, signal);
      const { start, end } = await files.locate(name, signal);
      return end - start;
    },
    async read(name, shape, signal) {
      if (matrices?.holds(name) === true) return matrices.read(name, shape, signal);
      const located = await files.locate(name, signal);
      const format = checkTensor(located, name, shape, describeFile(source, located.path));
      const bytes = await source.read(located.path, located.start, located.end, signal);
      return { kind: 'dense', name, format, shape, bytes };
    },
  };
}

function checkTensor(
  { dtype, shape }: LocatedTensor,
  name: string,
  expected: readonly number[],
  file: string,
) {
  const format = tensorFormat(dtype);
  if (!format) {
    throw new SkeinError(
      'model-unsupported',
      `${file}: tensor "${name}" has dtype ${dtype}. Skein reads F32, F16 and BF16; choose another version of the model.`,
      { data: { file, tensor: name, dtype } },
    );
  }
  if (shape.length !== expected.length || shape.some((extent, axis) => extent !== expected[axis])) {
    throw new SkeinError(
      'model-corrupt',
      `${file}: tensor "${name}" has shape [${shape.join(', ')}] where config.json calls for [${expected.join(', ')}]. ` +
        'Config and weights are of different models.',
      { data: { file, tensor: name } },
    );
  }
  return format;
}

import { SkeinError } from '../../protocol/errors.ts';
import type { Checkpoint, Tensor, TensorFormat } from '../checkpoint.ts';
import { denseFloats } from '../dense-floats.ts';
import type { FileSource } from '../file-source.ts';
import { describeFile } from '../model-path.ts';
import { codeBytes, scaleBytes } from '../quantized.ts';
import { ggufLayout, repackBlocks } from './gguf-blocks.ts';
import { checkRopeFactors, ggufArchitecture } from './gguf-config.ts';
import { readGgufHeader } from './gguf-header.ts';
import type { GgufHeader, GgufTensor } from './gguf-header.ts';
import { ggufName } from './gguf-names.ts';
import { GGUF_TYPES } from './gguf-types.ts';
import type { GgufType } from './gguf-types.ts';
import { restoreRotaryRows } from './rotary-rows.ts';

const FLOATS: ReadonlyMap<string, TensorFormat> = new Map([
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
]);
const ROPE_FACTORS = 'rope_freqs.weight';

/**
 * Opens a GGUF file: its header is read, tensors come by their ranges when they are asked for, under their Hugging Face names.
 * @throws SkeinError `model-missing`, `model-corrupt` or `model-unsupported`, naming the file and what in it.
 */
export async function openGgufCheckpoint(
  source: FileSource,
  path: string,
  signal?: AbortSignal,
): Promise<Checkpoint> {
  const header = await readGgufHeader(source, path, signal);
  const file = describeFile(source, path);
  const architecture = ggufArchitecture(header, await readRopeFactors(header, source, path, signal), file);

  const find = (name: string): GgufTensor => {
    const tensor = header.tensors.get(ggufName(name) ?? '');
    if (tensor) return tensor;
    throw new SkeinError(
      'model-missing',
      `${file} has no tensor "${ggufName(name) ?? name}" (${name}), which its metadata calls for. Download the model again.`,
      { data: { file, tensor: name } },
    );
  };
  const typeOf = (name: string, tensor: GgufTensor): GgufType => {
    const type = GGUF_TYPES.get(tensor.type);
    if (type) return type;
    const known = [...GGUF_TYPES.values()].map((one) => one.name).join(', ');
    throw new SkeinError(
      'model-unsupported',
      `${file}: tensor "${name}" is of GGUF type ${tensor.type}. Skein reads ${known}; choose another version of the model.`,
      { data: { file, tensor: name, type: tensor.type } },
    );
  };

  return {
    architecture,
    quantization: describeQuantization(header),
    has: (name) => header.tensors.has(ggufName(name) ?? ''),
    // A promise, so that what is wrong rejects it.
    async sizeBytes(name) {
      const tensor = find(name);
      const layout = ggufLayout(typeOf(name, tensor).name);
      const elements = tensor.shape.reduce((product, extent) => product * extent, 1);
      return Promise.resolve(
        layout ? codeBytes(layout, elements) + scaleBytes(layout, elements) : tensor.end - tensor.start,
      );
    },
    async read(name, shape, signal): Promise<Tensor> {
      const tensor = find(name);
      const type = typeOf(name, tensor);
      if (
        tensor.shape.length !== shape.length ||
        tensor.shape.some((extent, axis) => extent !== shape[axis])
      ) {
        throw new SkeinError(
          'model-corrupt',
          `${file}: tensor "${name}" has shape [${tensor.shape.join(', ')}] where the metadata calls for [${shape.join(', ')}]. Download the model again.`,
          { data: { file, tensor: name } },
        );
      }
      const stored = await source.read(path, tensor.start, tensor.end, signal);
      const bytes = restoreRotaryRows(name, stored, architecture);
      const format = FLOATS.get(type.name);
      if (format) return { kind: 'dense', name, format, shape, bytes };
      const [rows = 1, columns = 1] = shape;
      return repackBlocks(name, type.name, [rows, columns], bytes);
    },
  };
}

async function readRopeFactors(
  { tensors }: GgufHeader,
  source: FileSource,
  path: string,
  signal?: AbortSignal,
): Promise<Float32Array | null> {
  const tensor = tensors.get(ROPE_FACTORS);
  if (!tensor) return null;
  const format = FLOATS.get(GGUF_TYPES.get(tensor.type)?.name ?? '');
  const bytes = await source.read(path, tensor.start, tensor.end, signal);
  const factors = format ? denseFloats({ format, bytes }) : new Float32Array(0);
  return checkRopeFactors(factors, describeFile(source, path));
}

/** The type most matrices have, for people; null when all are floats. */
function describeQuantization({ tensors }: GgufHeader): string | null {
  const counts = new Map<string, number>();
  for (const { type } of tensors.values()) {
    const name = GGUF_TYPES.get(type)?.name;
    if (name !== undefined && ggufLayout(name)) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  return most ? `GGUF ${most[0]}` : null;
}

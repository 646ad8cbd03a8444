import { SkeinError } from '../protocol/errors.ts';
import { MAX_SAFETENSORS_HEADER_BYTES } from '../protocol/limits.ts';
import { BYTES_PER_ELEMENT } from './checkpoint.ts';
import { describeFile } from './model-path.ts';
import { decodeUtf8, isJsonObject, parseJson } from './json.ts';
import type { TensorFormat } from './checkpoint.ts';
import type { FileSource } from './file-source.ts';

/** Where a tensor lies in its file. Source: https://huggingface.co/docs/safetensors/index#format */
export interface SafetensorsEntry {
  /** As written, for example `BF16`; any text until somebody reads the tensor. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes `[start, end)` of the file. */
  readonly start: number;
  readonly end: number;
}

/** Entries by tensor name. A map, so that a tensor called `__proto__` is a name like any other. */
export type SafetensorsHeader = ReadonlyMap<string, SafetensorsEntry>;

const LENGTH_BYTES = 8;
/** PyTorch stops at 64 dimensions; a header with more is not a model. */
const MAX_DIMENSIONS = 64;
const FORMATS: ReadonlyMap<string, TensorFormat> = new Map([
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
]);

/** @returns undefined for a dtype the engine does not read. */
export function tensorFormat(dtype: string): TensorFormat | undefined {
  return FORMATS.get(dtype);
}

/**
 * @returns null when there is no such file.
 * @throws SkeinError `model-corrupt` naming file and tensor for a header that lies.
 */
export async function readSafetensorsHeader(
  source: FileSource,
  path: string,
  signal?: AbortSignal,
): Promise<SafetensorsHeader | null> {
  const sizeBytes = await source.sizeBytes(path, signal);
  if (sizeBytes === null) return null;
  const file = describeFile(source, path);
  if (sizeBytes < LENGTH_BYTES) {
    throw corruptHeader(file, `has ${sizeBytes} bytes, too few for a header length`);
  }
  const headerLength = parseHeaderLength(await source.read(path, 0, LENGTH_BYTES, signal), sizeBytes, file);
  const dataStart = LENGTH_BYTES + headerLength;
  const header = await source.read(path, LENGTH_BYTES, dataStart, signal);
  return parseSafetensorsHeader(header, dataStart, sizeBytes, file);
}

/** @param bytes the first 8 of the file. @throws SkeinError `model-corrupt` before anything of that length is allocated. */
function parseHeaderLength(bytes: Uint8Array, fileSizeBytes: number, file: string): number {
  const length = new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(MAX_SAFETENSORS_HEADER_BYTES)) {
    throw corruptHeader(
      file,
      `says its header has ${length} bytes; the limit is ${MAX_SAFETENSORS_HEADER_BYTES}`,
    );
  }
  if (LENGTH_BYTES + Number(length) > fileSizeBytes) {
    throw corruptHeader(file, `says its header has ${length} bytes, but the file has ${fileSizeBytes}`);
  }
  return Number(length);
}

/**
 * @param header the JSON between the length and the data.
 * @param dataStart the byte of the file that offsets count from.
 * @throws SkeinError `model-corrupt` naming the file and the tensor.
 */
export function parseSafetensorsHeader(
  header: Uint8Array,
  dataStart: number,
  fileSizeBytes: number,
  file: string,
): SafetensorsHeader {
  const json = parseJson(decodeUtf8(header, `The header of ${file}`), `The header of ${file}`);
  if (!isJsonObject(json)) throw corruptHeader(file, 'has a header that is not a JSON object');
  const entries = new Map<string, SafetensorsEntry>();
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') continue;
    entries.set(name, parseEntry(name, value, dataStart, fileSizeBytes, file));
  }
  refuseOverlaps(entries, file);
  return entries;
}

function parseEntry(
  name: string,
  value: unknown,
  dataStart: number,
  fileSizeBytes: number,
  file: string,
): SafetensorsEntry {
  const wrong = (problem: string): SkeinError => corruptTensor(file, name, problem);
  if (!isJsonObject(value)) throw wrong('is not described by an object');
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string') throw wrong('has no "dtype" text');
  if (!Array.isArray(shape) || shape.length > MAX_DIMENSIONS || !shape.every(isCount)) {
    throw wrong('has a "shape" that is not a list of whole numbers');
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw wrong('has "data_offsets" that are not two whole numbers');
  }
  const [start = 0, end = 0] = offsets.map((offset) => dataStart + offset);
  if (start > end) throw wrong(`has "data_offsets" that run backwards (${offsets.join(' to ')})`);
  if (end > fileSizeBytes) {
    throw wrong(`has "data_offsets" up to byte ${end} of a file of ${fileSizeBytes}; it may be cut off`);
  }
  const format = tensorFormat(dtype);
  if (format) {
    const expectedBytes = byteCount(shape, format);
    if (expectedBytes !== end - start) {
      throw wrong(
        `has ${end - start} bytes where "shape" [${shape.join(', ')}] of "dtype" ${dtype} takes ${expectedBytes}`,
      );
    }
  }
  return { dtype, shape, start, end };
}

/** Exact, or so large that no file has as many bytes: extents are whole, so a product past 2^53 stays past it. */
function byteCount(shape: readonly number[], format: TensorFormat): number {
  return shape.reduce((product, extent) => product * extent, BYTES_PER_ELEMENT[format]);
}

function refuseOverlaps(entries: ReadonlyMap<string, SafetensorsEntry>, file: string): void {
  const inOrder = [...entries].sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  let furthest = 0;
  let owner = '';
  for (const [name, { start, end }] of inOrder) {
    if (start < furthest && start < end)
      throw corruptTensor(file, name, `shares bytes with "${owner}" by its "data_offsets"`);
    if (end > furthest) [furthest, owner] = [end, name];
  }
}

function corruptHeader(file: string, problem: string): SkeinError {
  return new SkeinError('model-corrupt', `${file} ${problem}. Download it again.`, {
    data: { file, field: 'header' },
  });
}

function corruptTensor(file: string, tensor: string, problem: string): SkeinError {
  return new SkeinError('model-corrupt', `${file}: tensor "${tensor}" ${problem}. Download the file again.`, {
    data: { file, tensor },
  });
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

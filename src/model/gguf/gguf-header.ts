import { SkeinError } from '../../protocol/errors.ts';
import { MAX_GGUF_ENTRIES } from '../../protocol/limits.ts';
import type { FileSource } from '../file-source.ts';
import { missingFile } from '../model-path.ts';
import { GgufCursor } from './gguf-cursor.ts';
import { GGUF_TYPES } from './gguf-types.ts';

/** Arrays and long strings, which are the tokenizer's, are passed over, but for short lists of flags; an array leaves its length. */
export type GgufValue = number | boolean | string | readonly boolean[] | { readonly arrayLength: number };

/** Where a tensor lies. Source of the format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
export interface GgufTensor {
  /** Number of the type; any until somebody reads the tensor. */
  readonly type: number;
  /** Outermost first, as elsewhere: [out, in]. */
  readonly shape: readonly number[];
  /** Bytes `[start, end)` of the file; empty for a type that cannot be read. */
  readonly start: number;
  readonly end: number;
}

export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

const MAGIC = 0x4655_4747;
const VERSIONS = [2, 3];
const MAX_DIMENSIONS = 4;
const DEFAULT_ALIGNMENT = 32;
const MAX_ALIGNMENT = 1 << 20;
/** Longer strings are chat templates and licences. */
const MAX_KEPT_STRING_CHARACTERS = 4096;
/** Flags are one for each layer. */
const MAX_KEPT_FLAGS = 1024;

/**
 * Reads the header by ranges, and no byte of the data.
 * @throws SkeinError `model-missing`, `model-corrupt` for a header that lies, `model-unsupported` for another version.
 */
export async function readGgufHeader(
  source: FileSource,
  path: string,
  signal?: AbortSignal,
): Promise<GgufHeader> {
  const fileBytes = await source.sizeBytes(path, signal);
  if (fileBytes === null) throw missingFile(source, path, 'does not exist.');
  const cursor = new GgufCursor(source, path, fileBytes, signal);
  const { tensorCount, metadataCount } = await readCounts(cursor);
  const metadata = new Map<string, GgufValue>();
  for (let index = 0; index < metadataCount; index++) {
    const key = await cursor.string('a metadata key');
    if (metadata.has(key)) throw cursor.corrupt(`has the metadata key "${key}" twice`);
    metadata.set(key, await readValue(cursor, key, await cursor.u32()));
  }
  const infos = new Map<string, TensorInfo>();
  for (let index = 0; index < tensorCount; index++) {
    const name = await cursor.string('a tensor name');
    if (infos.has(name)) throw cursor.corrupt(`has the tensor "${name}" twice`);
    infos.set(name, await readTensorInfo(cursor, name));
  }
  const alignment = alignmentOf(metadata, cursor);
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = new Map(
    [...infos].map(([name, info]) => [name, place(name, info, dataStart, alignment, cursor)]),
  );
  refuseOverlaps(tensors, cursor);
  return { metadata, tensors };
}

async function readCounts(cursor: GgufCursor) {
  if ((await cursor.u32()) !== MAGIC) throw cursor.corrupt('does not begin with "GGUF"');
  const version = await cursor.u32();
  if (!VERSIONS.includes(version)) {
    throw new SkeinError(
      'model-unsupported',
      `${cursor.file} is GGUF version ${version}. Skein reads versions 2 and 3, little-endian; convert it again with a newer llama.cpp.`,
      { data: { file: cursor.file, version } },
    );
  }
  const tensorCount = await cursor.u64();
  const metadataCount = await cursor.u64();
  if (tensorCount > MAX_GGUF_ENTRIES || metadataCount > MAX_GGUF_ENTRIES) {
    throw cursor.corrupt(
      `says that it has ${tensorCount} tensors and ${metadataCount} metadata entries; ${MAX_GGUF_ENTRIES} are the most there may be`,
    );
  }
  return { tensorCount, metadataCount };
}

const BOOL = 7;
const STRING = 8;
const ARRAY = 9;

/** Numbers, by the number of their type. */
const NUMBER_TYPES: ReadonlyMap<
  number,
  { readonly bytes: number; readonly read: (view: DataView) => number }
> = new Map([
  [0, { bytes: 1, read: (view) => view.getUint8(0) }],
  [1, { bytes: 1, read: (view) => view.getInt8(0) }],
  [2, { bytes: 2, read: (view) => view.getUint16(0, true) }],
  [3, { bytes: 2, read: (view) => view.getInt16(0, true) }],
  [4, { bytes: 4, read: (view) => view.getUint32(0, true) }],
  [5, { bytes: 4, read: (view) => view.getInt32(0, true) }],
  [6, { bytes: 4, read: (view) => view.getFloat32(0, true) }],
  [10, { bytes: 8, read: (view) => Number(view.getBigUint64(0, true)) }],
  [11, { bytes: 8, read: (view) => Number(view.getBigInt64(0, true)) }],
  [12, { bytes: 8, read: (view) => view.getFloat64(0, true) }],
]);

async function readValue(cursor: GgufCursor, key: string, type: number): Promise<GgufValue> {
  if (type === BOOL) return (await cursor.u8()) !== 0;
  if (type === STRING) {
    const text = await cursor.string(`"${key}"`);
    return text.slice(0, MAX_KEPT_STRING_CHARACTERS);
  }
  if (type === ARRAY) return readArray(cursor, key);
  const number = NUMBER_TYPES.get(type);
  if (!number) throw cursor.corrupt(`has "${key}" of the unknown type ${type}`);
  return number.read(await cursor.take(number.bytes));
}

async function readArray(cursor: GgufCursor, key: string): Promise<GgufValue> {
  const type = await cursor.u32();
  const arrayLength = await cursor.u64();
  if (type === STRING) {
    // Each takes 8 bytes at least, so the end of the header ends this.
    for (let index = 0; index < arrayLength; index++) await cursor.skipString(`text in "${key}"`);
    return { arrayLength };
  }
  if (type === BOOL && arrayLength <= MAX_KEPT_FLAGS) {
    const flags = await cursor.take(arrayLength);
    return Array.from({ length: arrayLength }, (_, index) => flags.getUint8(index) !== 0);
  }
  const bytes = type === BOOL ? 1 : NUMBER_TYPES.get(type)?.bytes;
  if (bytes === undefined) throw cursor.corrupt(`has "${key}", a list of the unknown type ${type}`);
  cursor.skip(arrayLength * bytes);
  return { arrayLength };
}

interface TensorInfo {
  readonly type: number;
  readonly shape: readonly number[];
  readonly offset: number;
}

async function readTensorInfo(cursor: GgufCursor, name: string): Promise<TensorInfo> {
  const dimensions = await cursor.u32();
  if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
    throw cursor.corrupt(
      `has the tensor "${name}" of ${dimensions} dimensions; 1 to ${MAX_DIMENSIONS} are possible`,
    );
  }
  const shape: number[] = [];
  for (let axis = 0; axis < dimensions; axis++) shape.unshift(await cursor.u64());
  const type = await cursor.u32();
  return { type, shape, offset: await cursor.u64() };
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>, cursor: GgufCursor): number {
  const alignment = metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT;
  if (
    typeof alignment === 'number' &&
    Number.isInteger(alignment) &&
    alignment >= 1 &&
    alignment <= MAX_ALIGNMENT
  ) {
    return alignment;
  }
  throw cursor.corrupt(`has a "general.alignment" of ${JSON.stringify(alignment)}`);
}

function place(
  name: string,
  { type, shape, offset }: TensorInfo,
  dataStart: number,
  alignment: number,
  cursor: GgufCursor,
): GgufTensor {
  const wrong = (problem: string) => cursor.corrupt(`has the tensor "${name}" ${problem}`);
  const start = dataStart + offset;
  if (!Number.isSafeInteger(start) || offset % alignment !== 0) {
    throw wrong(`at offset ${offset}, which is not a multiple of ${alignment}`);
  }
  const stored = GGUF_TYPES.get(type);
  if (!stored) return { type, shape, start, end: start };
  const elements = shape.reduce((product, extent) => product * extent, 1);
  if ((shape.at(-1) ?? 0) % stored.blockElements !== 0) {
    throw wrong(`of shape [${shape.join(', ')}], whose rows are not whole blocks of ${stored.blockElements}`);
  }
  const end = start + (elements / stored.blockElements) * stored.blockBytes;
  if (end > cursor.fileBytes) {
    throw wrong(`up to byte ${end} of a file of ${cursor.fileBytes}; it may be cut off`);
  }
  return { type, shape, start, end };
}

function refuseOverlaps(tensors: ReadonlyMap<string, GgufTensor>, cursor: GgufCursor): void {
  const inOrder = [...tensors].sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  let furthest = 0;
  for (const [name, { start, end }] of inOrder) {
    if (start < furthest && start < end)
      throw cursor.corrupt(`has the tensor "${name}" share bytes with another`);
    furthest = Math.max(furthest, end);
  }
}

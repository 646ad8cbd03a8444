import { SkeinError } from '../protocol/errors.ts';
import { untilAborted } from './abort.ts';
import { isJsonObject } from './json.ts';
import { describeFile, isInnerPath, missingFile } from './model-path.ts';
import { readJsonFile } from './read-file.ts';
import { readSafetensorsHeader } from './safetensors.ts';
import type { FileSource } from './file-source.ts';
import type { SafetensorsEntry, SafetensorsHeader } from './safetensors.ts';

const SINGLE_FILE = 'model.safetensors';
const INDEX_FILE = 'model.safetensors.index.json';

export interface LocatedTensor extends SafetensorsEntry {
  /** The file of the folder that holds it. */
  readonly path: string;
}

/** Knows which file of a model folder holds which tensor, and reads each header once, when first needed. */
export class WeightFiles {
  readonly #headers = new Map<string, Promise<SafetensorsHeader>>();

  private constructor(
    readonly source: FileSource,
    /** The file that says which tensors there are: the only one, or the index. */
    readonly listingPath: string,
    readonly pathByTensor: ReadonlyMap<string, string>,
  ) {}

  /** @throws SkeinError `model-missing` for a folder without safetensors, `model-corrupt` for a bad index or header. */
  static async open(source: FileSource, signal?: AbortSignal): Promise<WeightFiles> {
    const header = await readSafetensorsHeader(source, SINGLE_FILE, signal);
    if (header) {
      const files = new WeightFiles(
        source,
        SINGLE_FILE,
        new Map([...header.keys()].map((name) => [name, SINGLE_FILE])),
      );
      files.#headers.set(SINGLE_FILE, Promise.resolve(header));
      return files;
    }
    const index = await readJsonFile(source, INDEX_FILE, signal);
    if (index === undefined) {
      throw missingFile(
        source,
        SINGLE_FILE,
        `does not exist, nor does ${INDEX_FILE}. Only safetensors weights can be read.`,
      );
    }
    return new WeightFiles(source, INDEX_FILE, parseIndex(index, describeFile(source, INDEX_FILE)));
  }

  /** @throws SkeinError `model-missing` for a tensor, or for the shard that the index promises. */
  async locate(name: string, signal?: AbortSignal): Promise<LocatedTensor> {
    const path = this.pathByTensor.get(name);
    const entry = path === undefined ? undefined : (await this.#header(path, signal)).get(name);
    if (path === undefined || !entry) {
      const where = describeFile(this.source, path ?? this.listingPath);
      throw new SkeinError(
        'model-missing',
        `${where} has no tensor "${name}", which config.json calls for. Download the model again.`,
        { data: { file: where, tensor: name } },
      );
    }
    return { ...entry, path };
  }

  /** Shared by everyone who asks, so no one's signal ends it for the others. A failure is not remembered. */
  #header(path: string, signal?: AbortSignal): Promise<SafetensorsHeader> {
    let header = this.#headers.get(path);
    if (!header) {
      header = this.#readHeader(path);
      this.#headers.set(path, header);
      header.catch(() => this.#headers.delete(path));
    }
    return untilAborted(header, signal);
  }

  async #readHeader(path: string): Promise<SafetensorsHeader> {
    const header = await readSafetensorsHeader(this.source, path);
    if (header) return header;
    throw missingFile(
      this.source,
      path,
      `does not exist, but ${INDEX_FILE} calls for it. Download the model again.`,
    );
  }
}

/** @returns shard path by tensor name. */
function parseIndex(index: unknown, file: string): Map<string, string> {
  const wrong = (field: string, problem: string): SkeinError =>
    new SkeinError('model-corrupt', `${file}: "${field}" ${problem}. Download it again.`, {
      data: { file, field },
    });
  const weightMap = isJsonObject(index) ? index['weight_map'] : undefined;
  if (!isJsonObject(weightMap)) throw wrong('weight_map', 'is not an object from tensor names to files');
  const paths = new Map<string, string>();
  for (const [name, path] of Object.entries(weightMap)) {
    if (typeof path !== 'string' || !isInnerPath(path)) {
      throw wrong(`weight_map.${name}`, `is ${JSON.stringify(path)}, not a file inside the model folder`);
    }
    paths.set(name, path);
  }
  return paths;
}

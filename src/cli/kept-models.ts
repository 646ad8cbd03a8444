import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as v from 'valibot';
import type { ModelWish } from '../../signaling/admin-models.ts';
import { MAX_MODELS } from '../../signaling/admin-models.ts';
import { ACTIVATIONS } from '../protocol/activations.ts';
import { CACHE_FORMATS } from '../protocol/cache-format.ts';
import { SkeinError } from '../protocol/errors.ts';
import { QUANTIZATIONS } from '../protocol/quantization.ts';
import { refusedField } from '../protocol/refused-field.ts';

const listSchema = v.strictObject({
  models: v.pipe(
    v.array(
      v.strictObject({
        location: v.pipe(v.string(), v.minLength(1)),
        quantization: v.picklist(QUANTIZATIONS),
        cache: v.picklist(CACHE_FORMATS),
        activations: v.picklist(ACTIVATIONS),
      }),
    ),
    v.maxLength(MAX_MODELS),
  ),
});

/**
 * The models that were there when the server was last changed.
 * @returns null where it never was. @throws SkeinError `bad-argument` for a file that cannot be read or holds something else.
 */
export async function keptModels(path: string): Promise<readonly ModelWish[] | null> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return null;
    throw unusable(path, `cannot be read: ${SkeinError.from(thrown).message}`, thrown);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw unusable(path, 'is no JSON', cause);
  }
  const list = v.safeParse(listSchema, json);
  if (list.success) return list.output.models;
  const { field, reason } = refusedField(list.issues);
  throw unusable(path, `is no list of models (${field}: ${reason})`);
}

/** Keeps them for the next start; one list after the other. */
export class ModelsKeeper {
  readonly #path: string;
  readonly #onError: (error: SkeinError) => void;
  #last: Promise<void> = Promise.resolve();

  constructor(path: string, onError: (error: SkeinError) => void) {
    this.#path = path;
    this.#onError = onError;
  }

  keep(models: readonly ModelWish[]): void {
    const kept = models.map(({ location, quantization, cache, activations }) => ({
      location,
      quantization,
      cache,
      activations,
    }));
    const text = `${JSON.stringify({ models: kept }, null, 2)}\n`;
    this.#last = this.#last.then(() => this.#write(text));
  }

  /** Resolves when the last list is kept, or could not be. */
  settled(): Promise<void> {
    return this.#last;
  }

  async #write(text: string): Promise<void> {
    const draft = `${this.#path}.${randomUUID()}`;
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      await writeFile(draft, text, { flag: 'wx' });
      await rename(draft, this.#path);
    } catch (thrown) {
      await rm(draft, { force: true });
      this.#onError(unusable(this.#path, `cannot be written: ${SkeinError.from(thrown).message}`, thrown));
    }
  }
}

function unusable(path: string, what: string, cause?: unknown): SkeinError {
  return new SkeinError('bad-argument', `${path} ${what}. Delete it to start with the embedded model.`, {
    cause,
  });
}

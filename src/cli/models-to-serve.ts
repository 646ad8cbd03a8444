import type { ServedWish } from '../../signaling/admin-models.ts';
import type { Log } from '../../signaling/log.ts';
import { SkeinError } from '../protocol/errors.ts';
import { keptModels, ModelsKeeper } from './kept-models.ts';
import type { ModelFormats } from './model-cards.ts';
import { openServedModel, openServedModels } from './served-models.ts';

export interface ModelsToServeOptions {
  /** On the command line; null for none. */
  readonly named: readonly string[] | null;
  /** Folder of the model that is served where nothing else is said. */
  readonly embedded: string;
  /** Of those that are named, and of the embedded one. */
  readonly formats: ModelFormats;
  /** The file of what was added and removed while a server ran. */
  readonly keptIn: string;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export interface ModelsToServe {
  readonly served: readonly ServedWish[];
  /** Keeps what is served for the next start. Does nothing where the command line says what is. */
  readonly keep: (served: readonly ServedWish[]) => void;
  /** Resolves when what is to be kept is. */
  readonly settled: () => Promise<void>;
}

/**
 * What a server offers when it starts: the models on the command line, and no others; or what was kept of the last run; or the
 * embedded one. One that was kept and cannot be had now is left out, and kept for the next start.
 * @throws SkeinError of a named model that cannot be served.
 */
export async function modelsToServe({
  named,
  embedded,
  formats,
  keptIn,
  log,
  signal,
}: ModelsToServeOptions): Promise<ModelsToServe> {
  if (named !== null) {
    const served = await openServedModels(named, formats, signal);
    return { served, keep: () => undefined, settled: () => Promise.resolve() };
  }
  const keeper = new ModelsKeeper(keptIn, ({ message }) => log.warn(message));
  const settled = () => keeper.settled();
  const kept = await keptModels(keptIn);
  if (kept === null) {
    const served = await openServedModels([embedded], formats, signal);
    return { served, keep: (now) => keeper.keep(now.map(({ wish }) => wish)), settled };
  }
  log.info(`Serving the models in ${keptIn}; --model serves others`);
  const served: ServedWish[] = [];
  const absent: ServedWish['wish'][] = [];
  for (const wish of kept) {
    try {
      const model = await openServedModel(wish, signal);
      if (served.some(({ card }) => card.id === model.card.id)) continue;
      served.push(model);
    } catch (thrown) {
      signal.throwIfAborted();
      log.warn(`${wish.location} is not served: ${SkeinError.from(thrown).message}`);
      absent.push(wish);
    }
  }
  return { served, keep: (now) => keeper.keep([...now.map(({ wish }) => wish), ...absent]), settled };
}

import { basename } from 'node:path';
import type { StaticRoot } from '../../signaling/static-files.ts';
import { FolderSource } from '../model/folder-source.ts';
import { folderUrl } from '../model/http-location.ts';
import { openCheckpoint } from '../model/open-checkpoint.ts';
import { fileSourceFor } from '../model/open-source.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { ModelId } from '../protocol/ids.ts';
import type { ModelCard } from '../protocol/signaling.ts';
import { modelCard } from './model-cards.ts';

/** A model to serve, and the folder it comes from when that is on this machine. */
export interface ServedModel {
  readonly card: ModelCard;
  readonly root: StaticRoot | null;
}

/**
 * Opens the models an operator named: folders, URLs or hub ids. A folder's files are served from here; the others are
 * read by the tabs where they are.
 * @throws SkeinError of the model that cannot be served, or `bad-argument` for two of the same name.
 */
export async function openServedModels(
  locations: readonly string[],
  signal?: AbortSignal,
): Promise<ServedModel[]> {
  const models: ServedModel[] = [];
  for (const location of locations) {
    const source = fileSourceFor(location);
    const checkpoint = await openCheckpoint(source, signal);
    const folder = source instanceof FolderSource ? source.description : null;
    const id = modelName(folder ?? folderUrl(location).pathname);
    if (models.some(({ card }) => card.id === id)) {
      throw new SkeinError('bad-argument', `Two models are called ${id}. Rename the folder of one of them.`);
    }
    const urlPath = `/models/${id}/`;
    const url = folder === null ? folderUrl(location).href : urlPath;
    const card = await modelCard(id, url, checkpoint, signal);
    models.push({ card, root: folder === null ? null : { urlPath, folder } });
  }
  return models;
}

/** The last part of a path, as it can stand in a URL; on the hub that of the model, not of the revision. */
function modelName(path: string): ModelId {
  const name = basename(path.replace(/\/resolve\/[^/]+\/?$/, ''));
  return (name.replace(/[^\w.-]+/g, '-').replace(/^\.+/, '') || 'model') as ModelId;
}

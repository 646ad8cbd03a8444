import { basename } from 'node:path';
import type { StaticRoot } from '../../signaling/static-files.ts';
import { FolderSource } from '../model/folder-source.ts';
import { folderUrl } from '../model/http-location.ts';
import { openCheckpoint } from '../model/open-checkpoint.ts';
import { fileSourceFor } from '../model/open-source.ts';
import { requireTokenizer } from '../model/gguf/gguf-file.ts';
import { checkActivations } from '../model/int8-activations.ts';
import { quantizedCheckpoint } from '../model/quantize.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { ModelId } from '../protocol/ids.ts';
import type { ModelCard } from '../protocol/signaling.ts';
import { modelCard, STORED_FORMATS } from './model-cards.ts';
import type { ModelFormats } from './model-cards.ts';

/** A model to serve, and the folder it comes from when that is on this machine. */
export interface ServedModel {
  readonly card: ModelCard;
  readonly root: StaticRoot | null;
}

/**
 * Opens the models an operator named: folders, GGUF files, URLs or hub ids. A folder's files are served from here; the others are
 * read by the tabs where they are.
 * @param formats what tabs make of every one of them when they load it.
 * @throws SkeinError of the model that cannot be served, or `bad-argument` for two of the same name.
 */
export async function openServedModels(
  locations: readonly string[],
  formats: ModelFormats = STORED_FORMATS,
  signal?: AbortSignal,
): Promise<ServedModel[]> {
  const models: ServedModel[] = [];
  for (const location of locations) {
    const source = fileSourceFor(location);
    const checkpoint = quantizedCheckpoint(await openCheckpoint(source, signal), formats.quantization);
    checkActivations(checkpoint, formats.activations);
    const ggufFile = await source.ggufFile(signal);
    if (ggufFile !== null) await requireTokenizer(source, ggufFile, signal);
    const folder = source instanceof FolderSource ? source.description : null;
    const id = modelName(ggufFile?.replace(/\.gguf$/i, '') ?? folder ?? folderUrl(location).pathname);
    if (models.some(({ card }) => card.id === id)) {
      throw new SkeinError('bad-argument', `Two models are called ${id}. Rename the folder of one of them.`);
    }
    const urlPath = `/models/${id}/`;
    const folderHref = folder === null ? folderUrl(location).href : urlPath;
    const url = withFile(folderHref, ggufFile);
    const card = await modelCard(id, url, checkpoint, formats, signal);
    models.push({ card, root: folder === null ? null : { urlPath, folder } });
  }
  return models;
}

/** @param href of a folder, perhaps with a query. */
function withFile(href: string, file: string | null): string {
  if (file === null) return href;
  const query = href.indexOf('?');
  const end = query < 0 ? href.length : query;
  return href.slice(0, end) + encodeURIComponent(file) + href.slice(end);
}

/** The last part of a path, as it can stand in a URL; on the hub that of the model, not of the revision. */
function modelName(path: string): ModelId {
  const name = basename(path.replace(/\/resolve\/[^/]+\/?$/, ''));
  return (name.replace(/[^\w.-]+/g, '-').replace(/^\.+/, '') || 'model') as ModelId;
}

import { basename, join } from 'node:path';
import type { ModelWish, ServedWish } from '../../signaling/admin-models.ts';
import type { FileSource } from '../model/file-source.ts';
import { FolderSource } from '../model/folder-source.ts';
import { folderUrl } from '../model/http-location.ts';
import { openCheckpoint } from '../model/open-checkpoint.ts';
import { fileSourceFor } from '../model/open-source.ts';
import { requireTokenizer } from '../model/gguf/gguf-file.ts';
import { checkActivations } from '../model/int8-activations.ts';
import { quantizedCheckpoint } from '../model/quantize.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { ModelId } from '../protocol/ids.ts';
import { modelCard, STORED_FORMATS } from './model-cards.ts';
import type { ModelFormats } from './model-cards.ts';

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
): Promise<ServedWish[]> {
  const models: ServedWish[] = [];
  for (const location of locations) {
    const model = await openServedModel({ location, ...formats }, signal);
    const { id } = model.card;
    if (models.some(({ card }) => card.id === id)) {
      throw new SkeinError('bad-argument', `Two models are called ${id}. Rename the folder of one of them.`);
    }
    models.push(model);
  }
  return models;
}

/**
 * One of them.
 * @param onRead hears how many more bytes of it were read.
 * @returns with a location that means the same wherever the server is started.
 * @throws SkeinError of a model that cannot be served.
 */
export async function openServedModel(
  wish: ModelWish,
  signal?: AbortSignal,
  onRead: (bytes: number) => void = () => undefined,
): Promise<ServedWish> {
  const opened = fileSourceFor(wish.location);
  const source = counted(opened, onRead);
  const checkpoint = quantizedCheckpoint(await openCheckpoint(source, signal), wish.quantization);
  checkActivations(checkpoint, wish.activations);
  const ggufFile = await source.ggufFile(signal);
  if (ggufFile !== null) await requireTokenizer(source, ggufFile, signal);
  const folder = opened instanceof FolderSource ? opened.description : null;
  const id = modelName(ggufFile?.replace(/\.gguf$/i, '') ?? folder ?? folderUrl(wish.location).pathname);
  const urlPath = `/models/${id}/`;
  const folderHref = folder === null ? folderUrl(wish.location).href : urlPath;
  const card = await modelCard(id, withFile(folderHref, ggufFile), checkpoint, wish, signal);
  if (folder === null) return { card, root: null, wish };
  const location = ggufFile === null ? folder : join(folder, ggufFile);
  return { card, root: { urlPath, folder }, wish: { ...wish, location } };
}

function counted(source: FileSource, onRead: (bytes: number) => void): FileSource {
  return {
    description: source.description,
    ggufFile: (signal) => source.ggufFile(signal),
    sizeBytes: (path, signal) => source.sizeBytes(path, signal),
    read: async (path, start, end, signal) => {
      const bytes = await source.read(path, start, end, signal);
      onRead(bytes.byteLength);
      return bytes;
    },
  };
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

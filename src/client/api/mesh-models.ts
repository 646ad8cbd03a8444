import { untilAborted } from '../../model/abort.ts';
import { HttpSource } from '../../model/http-source.ts';
import { SkeinError } from '../../protocol/errors.ts';
import type { ModelCard } from '../../protocol/signaling.ts';
import { Tokenizer } from '../../tokenizer/tokenizer.ts';
import { generateDeps } from '../generate-deps.ts';
import type { RequesterSession } from '../generate-deps.ts';
import type { ApiModels } from './api-models.ts';

/** Characters of a name that is not known that are said again. */
const MAX_TOLD_NAME = 100;

/** A requester's session that knows what the server offers. */
export interface ModelsSession extends RequesterSession {
  readonly models: readonly ModelCard[];
}

export interface MeshModelsOptions {
  /**
   * The session of the moment; one that is over is followed by another, and answers go on over that.
   * @throws SkeinError where there was none yet.
   */
  readonly current: () => ModelsSession;
  /** Addresses of cards are relative to it. */
  readonly serverUrl: string;
  /** @param folder URL of the model. By default from there, over HTTP. */
  readonly loadTokenizer?: (folder: string) => Promise<Tokenizer>;
}

/** The models of a server, each with its tokenizer, which is loaded when it is first asked for. */
export function meshModels({
  current,
  serverUrl,
  loadTokenizer = async (folder) => Tokenizer.load(new HttpSource(folder)),
}: MeshModelsOptions): ApiModels {
  /** By folder. */
  const tokenizers = new Map<string, Promise<Tokenizer>>();
  // One that is no address is refused by who loads from it.
  const folderOf = ({ url }: ModelCard) =>
    URL.canParse(url, serverUrl) ? new URL(url, serverUrl).href : url;

  const tokenizerFor = (card: ModelCard, offered: readonly ModelCard[]): Promise<Tokenizer> => {
    // Models come and go while a server runs.
    const folders = new Set(offered.map(folderOf));
    for (const known of tokenizers.keys()) if (!folders.has(known)) tokenizers.delete(known);
    const folder = folderOf(card);
    const known = tokenizers.get(folder);
    if (known !== undefined) return known;
    const loading = loadTokenizer(folder);
    tokenizers.set(folder, loading);
    // The next who asks loads again.
    loading.catch(() => {
      if (tokenizers.get(folder) === loading) tokenizers.delete(folder);
    });
    return loading;
  };

  return {
    list: () => offeredModels(current()),
    async open(id, signal) {
      const models = offeredModels(current());
      const card = models.find((offered) => offered.id === id);
      if (card === undefined) {
        const names = models.map((offered) => offered.id).join(', ') || 'none';
        throw new SkeinError(
          'model-missing',
          `The mesh does not offer the model ${JSON.stringify(id.slice(0, MAX_TOLD_NAME))}. It offers: ${names}.`,
          { data: { param: 'model' } },
        );
      }
      // Loading goes on for others who wait for the same tokenizer.
      const tokenizer = await untilAborted(tokenizerFor(card, models), signal);
      return { card, tokenizer, deps: generateDeps({ current, tokenizer }) };
    },
  };
}

/** Those that are being removed answer no new questions. */
export function offeredModels({ models }: Pick<ModelsSession, 'models'>): readonly ModelCard[] {
  return models.filter(({ isDraining }) => isDraining !== true);
}

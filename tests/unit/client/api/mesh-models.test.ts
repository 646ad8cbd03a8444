import { describe, expect, it } from 'vitest';
import { meshModels } from '../../../../src/client/api/mesh-models.ts';
import type { ModelsSession } from '../../../../src/client/api/mesh-models.ts';
import { FolderSource } from '../../../../src/model/folder-source.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import type { ModelId } from '../../../../src/protocol/ids.ts';
import type { ModelCard } from '../../../../src/protocol/signaling.ts';
import { Tokenizer } from '../../../../src/tokenizer/tokenizer.ts';
import { TINY } from '../../contributor/fakes.ts';
import { LocalMesh, peerId } from '../../mesh/local-mesh.ts';
import { ManualClock } from '../../mesh/manual-clock.ts';

const tokenizer = await Tokenizer.load(new FolderSource('public/models/skein-tiny'));
const OTHER: ModelCard = { ...TINY, id: 'other' as ModelId, url: 'https://hub.example/other/resolve/main/' };

function session(models: readonly ModelCard[], self = 1): ModelsSession {
  return {
    models,
    clock: new ManualClock(),
    transport: new LocalMesh(1).hub.transport(peerId(self)),
    signaling: {
      requestRoute: (query) => Promise.resolve({ ...query, hops: [] }),
      endRoute: () => undefined,
      suspect: () => undefined,
    },
  };
}

/** Models whose tokenizers a test hands out. */
function modelsOf(first: ModelsSession) {
  const state = { session: first };
  const loads: { folder: string; settle: (outcome: Tokenizer | SkeinError) => void }[] = [];
  const models = meshModels({
    current: () => state.session,
    serverUrl: 'http://mesh.example:3000/contribute/',
    loadTokenizer: (folder) =>
      new Promise((resolve, reject) => {
        loads.push({
          folder,
          settle: (outcome) => (outcome instanceof SkeinError ? reject(outcome) : resolve(outcome)),
        });
      }),
  });
  return { state, loads, models };
}

describe('models of a mesh', () => {
  it('are what the server offers, by addresses relative to it', async () => {
    const { loads, models } = modelsOf(session([TINY, OTHER]));
    expect(models.list().map(({ id }) => id)).toEqual(['skein-tiny', 'other']);
    const opening = [models.open('skein-tiny'), models.open('other')];
    expect(loads.map(({ folder }) => folder)).toEqual([
      'http://mesh.example:3000/models/skein-tiny/',
      'https://hub.example/other/resolve/main/',
    ]);
    for (const { settle } of loads) settle(tokenizer);
    expect((await Promise.all(opening)).map(({ card }) => card)).toEqual([TINY, OTHER]);
  });

  it('refuses a name that is not offered, and says which are', async () => {
    const { models } = modelsOf(session([TINY, OTHER]));
    const name = 'x'.repeat(100_000);
    const error = await models.open(name).catch((thrown: unknown) => SkeinError.from(thrown));
    expect(error).toMatchObject({ code: 'model-missing', data: { param: 'model' } });
    expect((error as SkeinError).message).toMatch(/^.{20,250}It offers: skein-tiny, other\.$/);
  });

  it('loads a tokenizer once, and again when that failed', async () => {
    const { loads, models } = modelsOf(session([TINY]));
    const both = Promise.allSettled([models.open('skein-tiny'), models.open('skein-tiny')]);
    loads[0]?.settle(new SkeinError('model-missing', 'not there'));
    expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const again = models.open('skein-tiny');
    expect(loads).toHaveLength(2);
    loads[1]?.settle(tokenizer);
    expect((await again).tokenizer).toBe(tokenizer);
    expect((await models.open('skein-tiny')).tokenizer).toBe(tokenizer);
    expect(loads).toHaveLength(2);
  });

  it('forgets the tokenizer of a model that is offered no more', async () => {
    const { state, loads, models } = modelsOf(session([TINY, OTHER]));
    for (const name of ['skein-tiny', 'other']) {
      const opening = models.open(name);
      loads.at(-1)?.settle(tokenizer);
      await opening;
    }
    state.session = session([OTHER]);
    await models.open('other');
    expect(loads).toHaveLength(2);
    state.session = session([TINY, OTHER]);
    const anew = models.open('skein-tiny');
    expect(loads).toHaveLength(3);
    loads[2]?.settle(tokenizer);
    await anew;
  });

  it('lets who waits no more go, and goes on loading for the others', async () => {
    const { loads, models } = modelsOf(session([TINY]));
    const abort = new AbortController();
    const impatient = models.open('skein-tiny', abort.signal);
    const patient = models.open('skein-tiny');
    abort.abort();
    await expect(impatient).rejects.toMatchObject({ code: 'aborted' });
    loads[0]?.settle(tokenizer);
    expect((await patient).tokenizer).toBe(tokenizer);
    expect(loads).toHaveLength(1);
  });

  it('asks over the session of the moment', async () => {
    const { state, loads, models } = modelsOf(session([TINY], 1));
    const opening = models.open('skein-tiny');
    loads[0]?.settle(tokenizer);
    const { deps } = await opening;
    state.session = session([TINY], 2);
    expect(deps.transport.self).toBe(peerId(2));
  });

  it('refuses an address that is none', async () => {
    const broken = { ...TINY, url: 'http://[' };
    const models = meshModels({ current: () => session([broken]), serverUrl: 'http://mesh.example:3000' });
    await expect(models.open('skein-tiny')).rejects.toMatchObject({ code: 'bad-argument' });
  });
});

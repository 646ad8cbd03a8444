import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, afterAll, describe, expect, it, vi } from 'vitest';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { HttpSource, MAX_WHOLE_FILE_BYTES } from '../../../src/model/http-source.ts';
import { openCheckpoint } from '../../../src/model/open-checkpoint.ts';
import { readSafetensorsHeader } from '../../../src/model/safetensors.ts';
import { sliceTensors } from '../../../src/model/tensor-names.ts';
import { TINY_LLAMA } from '../../fixtures/architectures.ts';
import { dense } from '../../fixtures/dense.ts';
import { refusalOf } from '../../fixtures/errors.ts';
import { ModelServer } from '../../fixtures/model-server.ts';
import { shardName, writeRandomModel } from '../../fixtures/random-model.ts';
import type { FileSource } from '../../../src/model/file-source.ts';
import type { DenseTensor } from '../../../src/model/checkpoint.ts';
import type { ModelFolder } from '../../fixtures/random-model.ts';
import type { ModelServerOptions } from '../../fixtures/model-server.ts';

const LETTERS = new TextEncoder().encode('abcdefghijklmnopqrstuvwxyz');
const SLICE = { layerStart: 1, layerEnd: 2 };

let stopServer: (() => Promise<void>) | undefined;
afterEach(async () => {
  vi.useRealTimers();
  await stopServer?.();
  stopServer = undefined;
});

async function serve(
  files: ReadonlyMap<string, Uint8Array>,
  options?: ModelServerOptions,
): Promise<ModelServer> {
  const server = await ModelServer.start(files, options);
  stopServer = () => server.stop();
  return server;
}

async function readSlice(source: FileSource): Promise<DenseTensor[]> {
  const checkpoint = await openCheckpoint(source);
  const specs = sliceTensors(checkpoint.architecture, SLICE);
  return Promise.all(specs.map(async ({ name, shape }) => dense(await checkpoint.read(name, shape))));
}

describe('a model over HTTP', () => {
  const models: ModelFolder[] = [];
  const files: Map<string, Uint8Array>[] = [];

  beforeAll(async () => {
    for (const shardCount of [1, 5]) {
      const model = await writeRandomModel({ architecture: TINY_LLAMA, format: 'bf16', shardCount });
      const content = new Map<string, Uint8Array>();
      for (const path of await readdir(model.folder))
        content.set(path, await readFile(join(model.folder, path)));
      models.push(model);
      files.push(content);
    }
  });
  afterAll(() => Promise.all(models.map((model) => model.remove())));

  const kinds = [
    { kind: 'ranges', options: {} },
    { kind: 'no ranges', options: { ranges: false } },
    { kind: 'no ranges and no lengths', options: { ranges: false, lengths: false } },
  ];
  it.each(kinds.flatMap((kind) => [0, 1].map((model) => ({ ...kind, model }))))(
    'gives the tensors that lie in the folder ($kind, model $model)',
    async ({ options, model }) => {
      const server = await serve(files[model] ?? new Map(), options);
      const expected = await readSlice(new FolderSource(models[model]?.folder ?? ''));
      expect(await readSlice(new HttpSource(server.url))).toEqual(expected);
    },
  );

  it('fetches the bytes of the tensors, the headers in front of them, and nothing else', async () => {
    const server = await serve(files[1] ?? new Map());
    const tensors = await readSlice(new HttpSource(server.url));
    const folder = new FolderSource(models[1]?.folder ?? '');
    const expected = new Map<string, number>();
    for (let shard = 0; shard < 5; shard++) {
      const path = shardName(shard, 5);
      const header = (await readSafetensorsHeader(folder, path)) ?? new Map<string, never>();
      const ofSlice = tensors.filter(({ name }) => header.has(name));
      const headerBytes = Math.min(...[...header.values()].map(({ start }) => start));
      const sizeProbe = 1;
      if (ofSlice.length > 0) {
        expected.set(
          path,
          sizeProbe + headerBytes + ofSlice.reduce((sum, { bytes }) => sum + bytes.length, 0),
        );
      }
    }
    const sent = [...server.sentBytes].filter(([path]) => path.endsWith('.safetensors'));
    expect(new Map(sent)).toEqual(expected);
  });

  it('downloads a file once for all its tensors where ranges are ignored', async () => {
    const server = await serve(files[0] ?? new Map(), { ranges: false });
    const tensors = await readSlice(new HttpSource(server.url));
    const requests = server.requests.filter(({ path }) => path === 'model.safetensors');
    // One for the size and one for the header length find out; their bodies are hung up on.
    expect(requests.map(({ range }) => range)).toEqual(['bytes=0-0', 'bytes=0-7', undefined]);
    expect(tensors.length).toBeGreaterThan(5);
  });
});

describe('HttpSource', () => {
  const letters = new Map([['letters', LETTERS]]);

  it.each([{}, { ranges: false }, { ranges: false, lengths: false }])('knows sizes (%j)', async (options) => {
    const server = await serve(new Map([...letters, ['empty', new Uint8Array(0)]]), options);
    const source = new HttpSource(`${server.url}/`);
    expect(await source.sizeBytes('letters')).toBe(26);
    expect(await source.sizeBytes('empty')).toBe(0);
    expect(await source.sizeBytes('absent')).toBeNull();
  });

  it.each([{}, { ranges: false }])('reads any part (%j)', async (options) => {
    const source = new HttpSource((await serve(letters, options)).url);
    const read = async (start: number, end: number) =>
      new TextDecoder().decode(await source.read('letters', start, end));
    expect(await read(0, 26)).toBe('abcdefghijklmnopqrstuvwxyz');
    expect(await read(3, 5)).toBe('de');
    expect(await read(25, 26)).toBe('z');
    expect(await read(7, 7)).toBe('');
  });

  it.each([{}, { ranges: false }])('says that a file is shorter (%j)', async (options) => {
    const source = new HttpSource((await serve(letters, options)).url);
    const file = `${source.description}/letters`;
    for (const [start, end] of [
      [20, 27],
      [26, 27],
      [90, 99],
    ] as const) {
      expect(await refusalOf(() => source.read('letters', start, end))).toMatchObject({
        code: 'model-corrupt',
        data: { file, end },
      });
    }
  });

  it.each([{}, { ranges: false }])('says that a file is missing (%j)', async (options) => {
    const source = new HttpSource((await serve(letters, options)).url);
    const refusal = await refusalOf(() => source.read('numbers', 0, 1));
    expect(refusal).toMatchObject({ code: 'model-missing', data: { file: `${source.description}/numbers` } });
  });

  it('keeps the query of the folder and escapes the names of files', async () => {
    const server = await serve(new Map([['m/a b#c?.json', LETTERS]]));
    const source = new HttpSource(`${server.url}/m?key=1`);
    expect(await source.sizeBytes('a b#c?.json')).toBe(26);
    expect(server.requests.at(-1)?.path).toBe('m/a%20b%23c%3F.json?key=1');
    // The query may be a signature, which has no place in messages.
    const refusal = await refusalOf(() => source.read('absent', 0, 1));
    expect(JSON.stringify(refusal)).not.toContain('key=1');
  });

  it.each(['../up', '/etc/passwd', 'http://elsewhere/x', 'a//b', './a', 'a\\b', ''])(
    'refuses the path %j',
    async (path) => {
      const server = await serve(letters);
      const source = new HttpSource(server.url);
      expect(await refusalOf(() => source.read(path, 0, 1))).toMatchObject({ code: 'bad-argument' });
      expect(await refusalOf(() => source.sizeBytes(path))).toMatchObject({ code: 'bad-argument' });
      expect(server.requests).toEqual([]);
    },
  );

  it('says that there is no memory for a part, before it asks for it', async () => {
    const server = await serve(letters);
    const source = new HttpSource(server.url);
    const file = `${source.description}/letters`;
    const refusal = await refusalOf(() => source.read('letters', 0, 2 ** 52));
    expect(refusal).toMatchObject({ code: 'out-of-memory', data: { file, sizeBytes: 2 ** 52 } });
    expect(server.requests).toEqual([]);
  });

  it('says that nobody answers', async () => {
    const server = await serve(letters);
    const { url } = server;
    await server.stop();
    stopServer = undefined;
    const pause = vi.fn(() => Promise.resolve());
    const refusal = await refusalOf(() => new HttpSource(url, { pause }).sizeBytes('letters'));
    expect(refusal).toMatchObject({ code: 'model-missing', data: { file: `${url}/letters`, attempts: 4 } });
    expect(pause).toHaveBeenCalledTimes(3);
  });
});

describe('HttpSource on a bad line', () => {
  const pause = () => Promise.resolve();
  const partial = (body: BodyInit, first: number) =>
    new Response(body, { status: 206, headers: { 'content-range': `bytes ${first}-25/26` } });
  const rangeOf = (init: RequestInit | undefined) => new Headers(init?.headers).get('range');

  it('goes on where the connection broke', async () => {
    const ranges: (string | null)[] = [];
    const fetch = (_: unknown, init?: RequestInit): Promise<Response> => {
      ranges.push(rangeOf(init));
      if (ranges.length > 1) return Promise.resolve(partial(LETTERS.slice(10), 10));
      let sent = false;
      const body = new ReadableStream({
        pull(controller) {
          if (sent) controller.error(new TypeError('connection reset'));
          else controller.enqueue(LETTERS.slice(0, 10));
          sent = true;
        },
      });
      return Promise.resolve(partial(body, 0));
    };
    const source = new HttpSource('http://a.test', { fetch, pause });
    expect(await source.read('letters', 0, 26)).toEqual(LETTERS);
    expect(ranges).toEqual(['bytes=0-25', 'bytes=10-25']);
  });

  it('asks again when an answer ends before it should, which a cache can do', async () => {
    const ranges: (string | null)[] = [];
    const fetch = (_: unknown, init?: RequestInit): Promise<Response> => {
      ranges.push(rangeOf(init));
      return Promise.resolve(partial(ranges.length === 1 ? '' : LETTERS, 0));
    };
    expect(await new HttpSource('http://a.test', { fetch, pause }).read('letters', 0, 26)).toEqual(LETTERS);
    expect(ranges).toEqual(['bytes=0-25', 'bytes=0-25']);
  });

  it('believes at once that a file is short when the answer says so', async () => {
    const fetch = vi.fn(() => Promise.resolve(partial(LETTERS, 0)));
    const source = new HttpSource('http://a.test', { fetch, pause });
    expect((await refusalOf(() => source.read('letters', 0, 27))).code).toBe('model-corrupt');
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  it('reads answers to their end, and hangs up on those that have none', async () => {
    const ends: string[] = [];
    const fetch = (url: unknown): Promise<Response> => {
      let sent = 0;
      const body = new ReadableStream({
        async pull(controller) {
          if (sent++ === 0 || !String(url).endsWith('letters')) {
            controller.enqueue(LETTERS);
            return;
          }
          // The end of an answer comes after its bytes, as it does on a line.
          await new Promise((resolve) => setImmediate(resolve));
          controller.close();
          ends.push('read');
        },
        cancel: () => void ends.push('hung up'),
      });
      return Promise.resolve(partial(body, 0));
    };
    const source = new HttpSource('http://a.test', { fetch, pause });
    expect(await source.sizeBytes('letters')).toBe(26);
    expect(await source.read('letters', 0, 26)).toEqual(LETTERS);
    expect(ends).toEqual(['read', 'read']);
    expect(await source.sizeBytes('endless')).toBe(26);
    expect(await source.read('endless', 0, 26)).toEqual(LETTERS);
    expect(ends.slice(2)).toEqual(['hung up', 'hung up']);
  });

  it.each([408, 429, 500, 503])('tries again after status %d, with growing pauses', async (status) => {
    const pauses: number[] = [];
    let failures = 0;
    const source = new HttpSource('http://a.test', {
      fetch: () =>
        Promise.resolve(++failures <= 3 ? new Response('', { status }) : partial(LETTERS.slice(0, 1), 0)),
      pause: (ms) => {
        pauses.push(ms);
        return Promise.resolve();
      },
    });
    expect(await source.sizeBytes('letters')).toBe(26);
    expect(pauses).toEqual([250, 1000, 4000]);
  });

  it.each([401, 403, 400, 418])('takes status %d for the last word', async (status) => {
    const fetch = vi.fn(() => Promise.resolve(new Response('', { status })));
    const refusal = await refusalOf(() =>
      new HttpSource('http://a.test', { fetch, pause }).sizeBytes('letters'),
    );
    expect(refusal.code).toBe('model-missing');
    expect(refusal.message).toContain(String(status));
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  it('does not trust a part that begins elsewhere', async () => {
    const fetch = (_: unknown, init?: RequestInit): Promise<Response> =>
      Promise.resolve(rangeOf(init) === null ? new Response(LETTERS) : partial(LETTERS, 0));
    const bytes = await new HttpSource('http://a.test', { fetch, pause }).read('letters', 3, 5);
    expect(new TextDecoder().decode(bytes)).toBe('de');
  });

  it('asks for the size another way where the page may not see Content-Range', async () => {
    const fetch = (_: unknown, init?: RequestInit): Promise<Response> =>
      Promise.resolve(
        init?.method === 'HEAD'
          ? new Response(null, { headers: { 'content-length': '26' } })
          : new Response(LETTERS.slice(0, 1), { status: 206 }),
      );
    expect(await new HttpSource('http://a.test', { fetch, pause }).sizeBytes('letters')).toBe(26);
  });

  it('does not take the length of a compressed body for the size of the file', async () => {
    const headers = { 'content-encoding': 'identity', 'content-length': '5' };
    const fetch = () => Promise.resolve(new Response(LETTERS, { headers }));
    expect(await new HttpSource('http://a.test', { fetch, pause }).sizeBytes('letters')).toBe(26);
  });

  it('refuses a file that comes whole and is too large, before it has it', async () => {
    const chunk = new Uint8Array(64 * 1024 * 1024);
    let sentChunks = 0;
    const fetch = () => {
      const body = new ReadableStream({
        pull(controller) {
          sentChunks++;
          controller.enqueue(chunk);
        },
      });
      return Promise.resolve(new Response(body));
    };
    const source = new HttpSource('http://a.test', { fetch, pause });
    const refusal = await refusalOf(() => source.sizeBytes('endless'));
    expect(refusal).toMatchObject({ code: 'model-unsupported', data: { file: 'http://a.test/endless' } });
    expect(sentChunks * chunk.length).toBeLessThan(2 * MAX_WHOLE_FILE_BYTES);
  });

  /** Never answers; ends when it is told to. */
  const deaf = (_: unknown, init?: RequestInit): Promise<Response> =>
    new Promise((_resolve, reject) => {
      init?.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error), { once: true });
    });

  it('gives up on a server that says nothing', async () => {
    const fetch = vi.fn(deaf);
    const source = new HttpSource('http://a.test', { fetch, pause, idleTimeoutMs: 5 });
    const refusal = await refusalOf(() => source.read('letters', 0, 1));
    expect(refusal.code).toBe('model-missing');
    expect(refusal.message).toContain('no byte came for 5 ms');
    expect(fetch).toHaveBeenCalledTimes(4);
  });

  it('ends at once when the caller gives up', async () => {
    const controller = new AbortController();
    const fetch = vi.fn(deaf);
    const source = new HttpSource('http://a.test', { fetch, pause });
    const refusal = refusalOf(() => source.read('letters', 0, 1, controller.signal));
    await vi.waitUntil(() => fetch.mock.calls.length === 1);
    controller.abort();
    expect((await refusal).code).toBe('aborted');
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  it('does not wait for the next attempt when the caller gives up', async () => {
    // No timer fires, so a pause that did not listen would never end.
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    const controller = new AbortController();
    const fetch = vi.fn(() => {
      queueMicrotask(() => controller.abort());
      return Promise.reject(new TypeError('network down'));
    });
    const source = new HttpSource('http://a.test', { fetch });
    expect((await refusalOf(() => source.read('letters', 0, 1, controller.signal))).code).toBe('aborted');
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  it('asks nobody when the caller gave up before', async () => {
    const fetch = vi.fn(deaf);
    const source = new HttpSource('http://a.test', { fetch });
    expect((await refusalOf(() => source.sizeBytes('letters', AbortSignal.abort()))).code).toBe('aborted');
    expect(fetch).not.toHaveBeenCalled();
  });
});

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { operatorCheck } from '../../../signaling/admin-key.ts';
import type { ModelWish, ServedWish } from '../../../signaling/admin-models.ts';
import type { RunningServer, ServerOptions } from '../../../signaling/server.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { newRequestId } from '../../../src/protocol/ids.ts';
import type { ModelId } from '../../../src/protocol/ids.ts';
import { card, MODEL } from './scheduler/instances.ts';
import { contribute, routeRequest, serve, ServerRig } from './server-rig.ts';
import { SignalClient } from './signal-client.ts';

const KEY = 'an-operator-key-of-some-length';
const WISH: ModelWish = { location: '/first', quantization: 'none', cache: 'f32', activations: 'f32' };

const rig = new ServerRig();
let folder: string;
/** What was to be kept, as the ids of each list. */
let kept: string[][];
/** What the server opens; by location. */
let opened: Map<string, () => Promise<ServedWish>>;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-admin-'));
  await writeFile(join(folder, 'config.json'), '{}');
  kept = [];
  opened = new Map();
  offers('/second', 'second');
});
afterEach(async () => {
  await rig.stopAll();
  await rm(folder, { recursive: true });
});

function served(location: string, id: string): ServedWish {
  const url = `/models/${id}/`;
  const model = { ...card(), id: id as ModelId, url };
  return { card: model, root: { urlPath: url, folder }, wish: { ...WISH, location } };
}

function offers(location: string, id: string): void {
  opened.set(location, () => Promise.resolve(served(location, id)));
}

const start = (overrides: Partial<ServerOptions> = {}) =>
  rig.start({
    isOperator: operatorCheck(KEY),
    admin: {
      served: [{ card: card(), root: null, wish: WISH }],
      open: async (wish) => {
        const open = opened.get(wish.location);
        if (open === undefined) throw new SkeinError('model-missing', `${wish.location} has no config.json.`);
        return open();
      },
      onChange: (list) => kept.push(list.map(({ card: { id } }) => id)),
    },
    ...overrides,
  });

async function ask(
  { url }: RunningServer,
  method: string,
  path: string,
  { key = KEY, body }: { key?: string | null; body?: unknown } = {},
) {
  const response = await fetch(`${url}/admin${path}`, {
    method,
    headers: {
      ...(key !== null && { authorization: `Bearer ${key}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

it('is for who has the key, and says nothing to anybody else', async () => {
  const server = await start();
  expect(await ask(server, 'GET', '/models')).toMatchObject({
    status: 200,
    json: { models: [{ id: MODEL, state: 'offered', isCovered: false, requests: 0, location: '/first' }] },
  });
  for (const key of [null, '', 'x', `${KEY} `.repeat(2), KEY.slice(1)]) {
    for (const [method, path] of [
      ['GET', '/models'],
      ['POST', '/models'],
      ['DELETE', `/models/${MODEL}`],
      ['GET', '/anything'],
    ] as const) {
      const answer = await ask(server, method, path, { key });
      expect(answer.status).toBe(401);
      expect(JSON.stringify(answer.json)).not.toContain('first');
    }
  }
  const without = await rig.start();
  expect((await ask(without, 'GET', '/models')).status).toBe(404);
});

it('is refused over plain HTTP where a proxy passed it on, unless the proxy is believed', async () => {
  for (const [trustProxy, status] of [
    [false, 403],
    [true, 200],
  ] as const) {
    const { port } = await start({ trustProxy });
    const headers = { authorization: `Bearer ${KEY}`, 'x-forwarded-for': '192.0.2.7' };
    const sent = request({ host: '127.0.0.1', port, path: '/admin/models', headers, agent: false });
    sent.end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.resume();
    expect(response.statusCode).toBe(status);
  }
});

it('adds a model: peers hear of it, its files are served, and it is kept', async () => {
  const server = await start();
  const client = await SignalClient.greeted(server.url);
  expect((await fetch(`${server.url}/models/second/config.json`)).status).toBe(404);
  const added = await ask(server, 'POST', '/models', { body: { location: '/second' } });
  expect(added).toMatchObject({ status: 201, json: { model: { id: 'second', state: 'offered' } } });
  const { models } = await client.next('models');
  expect(models.map(({ id }) => id)).toEqual([MODEL, 'second']);
  expect((await fetch(`${server.url}/models/second/config.json`)).status).toBe(200);
  expect(kept).toEqual([[MODEL, 'second']]);
  expect(await (await fetch(`${server.url}/healthz`)).json()).toMatchObject({ models: [MODEL, 'second'] });
});

it('refuses what it cannot offer, and says why', async () => {
  const server = await start();
  offers('/same', MODEL);
  const refusals: [body: unknown, status: number, words: string][] = [
    [{ location: '/nowhere' }, 404, 'has no config.json'],
    [{ location: '/same' }, 409, 'already'],
    [{}, 400, 'location'],
    [{ location: '' }, 400, 'location'],
    [{ location: 'x'.repeat(2001) }, 400, 'location'],
    [{ location: '/second', quantize: 'int2' }, 400, 'quantize'],
    [{ location: '/second', other: 1 }, 400, 'other'],
    ['[', 400, 'JSON'],
    [`{"location":"${'x'.repeat(20_000)}"}`, 413, 'limit'],
  ];
  for (const [body, status, words] of refusals) {
    const answer = await ask(server, 'POST', '/models', { body });
    expect(answer.status).toBe(status);
    expect(JSON.stringify(answer.json)).toContain(words);
  }
  const { json } = await ask(server, 'GET', '/models');
  expect(json['models']).toMatchObject([
    { id: MODEL },
    { state: 'failed', location: '/nowhere', error: expect.stringContaining('config.json') as string },
    { state: 'failed', location: '/same' },
  ]);
  expect(kept).toEqual([]);
});

it('shows what is being added, and adds no more than four at a time', async () => {
  const server = await start();
  const finish: ((model: ServedWish) => void)[] = [];
  opened.set('/slow', () => new Promise((resolve) => finish.push(resolve)));
  const adding = Array.from({ length: 4 }, () =>
    ask(server, 'POST', '/models', { body: { location: '/slow' } }),
  );
  await expect.poll(() => finish.length).toBe(4);
  expect((await ask(server, 'GET', '/models')).json['models']).toMatchObject([
    { id: MODEL },
    ...adding.map(() => ({ state: 'adding', location: '/slow', readBytes: 0 })),
  ]);
  expect((await ask(server, 'POST', '/models', { body: { location: '/second' } })).status).toBe(429);
  for (const [index, resolve] of finish.entries()) resolve(served('/slow', `slow-${index}`));
  for (const { status } of await Promise.all(adding)) expect(status).toBe(201);
});

it('drains a model while an answer runs on it, and forgets it and its files after that', async () => {
  const server = await start();
  await ask(server, 'POST', '/models', { body: { location: '/second' } });
  const [holder, other] = [await contribute(server.url), await contribute(server.url)];
  const slices = [await serve(holder), await serve(other)];
  expect(new Set(slices.map(({ model }) => model))).toEqual(new Set([MODEL, 'second']));
  const asker = await SignalClient.greeted(server.url);
  const requestId = newRequestId();
  asker.send(routeRequest(requestId, 64, 'second' as ModelId));
  await asker.next('route');

  const draining = await ask(server, 'DELETE', '/models/second?within=60');
  expect(draining).toMatchObject({ status: 202, json: { model: { state: 'draining', requests: 1 } } });
  expect(kept.at(-1)).toEqual([MODEL]);
  expect((await fetch(`${server.url}/models/second/config.json`)).status).toBe(200);
  asker.send({ type: 'route-end', requestId });
  await expect
    .poll(async () => (await ask(server, 'GET', '/models')).json['models'])
    .toMatchObject([{ id: MODEL }]);
  expect((await fetch(`${server.url}/models/second/config.json`)).status).toBe(404);
  expect(kept.at(-1)).toEqual([MODEL]);

  expect(await ask(server, 'DELETE', `/models/${MODEL}`)).toMatchObject({
    status: 200,
    json: { model: { id: MODEL, state: 'removed' } },
  });
  expect(kept.at(-1)).toEqual([]);
});

it('refuses to remove what is not there, or within no time', async () => {
  const server = await start();
  expect((await ask(server, 'DELETE', '/models/nothing')).status).toBe(404);
  for (const within of ['-1', '1.5', 'x', '3601']) {
    expect((await ask(server, 'DELETE', `/models/${MODEL}?within=${within}`)).status).toBe(400);
  }
  expect((await ask(server, 'GET', '/models')).json['models']).toMatchObject([{ state: 'offered' }]);
});

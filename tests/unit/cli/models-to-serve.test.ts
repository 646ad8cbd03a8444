import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { operatorCheck } from '../../../signaling/admin-key.ts';
import { createLog } from '../../../signaling/log.ts';
import { modelsToServe } from '../../../src/cli/models-to-serve.ts';
import { operatorKey } from '../../../src/cli/operator-key.ts';
import { openServedModel } from '../../../src/cli/served-models.ts';

const TINY = resolve(import.meta.dirname, '../../../public/models/skein-tiny');
const FORMATS = { quantization: 'none', cache: 'f32', activations: 'f32' } as const;

let folder: string;
let keptIn: string;
let logLines: string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-kept-'));
  keptIn = join(folder, 'state', 'models.json');
  logLines = [];
});
afterEach(() => rm(folder, { recursive: true }));

const plan = (named: readonly string[] | null = null) =>
  modelsToServe({
    named,
    embedded: TINY,
    formats: FORMATS,
    keptIn,
    log: createLog('debug', (line) => logLines.push(line)),
    signal: new AbortController().signal,
  });
const ids = ({ served }: Awaited<ReturnType<typeof plan>>) => served.map(({ card }) => card.id);

/** The embedded model under another name. */
async function another(name: string): Promise<string> {
  const path = join(folder, name);
  await symlink(TINY, path);
  return path;
}

describe('what a server offers when it starts', () => {
  it('is the embedded model, and after that what was kept, wherever it is started', async () => {
    const first = await plan();
    expect(ids(first)).toEqual(['skein-tiny']);
    const path = relative(process.cwd(), await another('second'));
    let readBytes = 0;
    const wish = { ...FORMATS, quantization: 'int8', location: path } as const;
    const second = await openServedModel(wish, undefined, (bytes) => (readBytes += bytes));
    expect(readBytes).toBeGreaterThan(0);
    first.keep([...first.served, second]);
    await first.settled();
    const kept = JSON.parse(await readFile(keptIn, 'utf8')) as { models: { location: string }[] };
    expect(kept.models.map(({ location }) => location)).toEqual([TINY, join(folder, 'second')]);

    const next = await plan();
    expect(ids(next)).toEqual(['skein-tiny', 'second']);
    expect(next.served[1]?.card.quantization).toBe('int8');
    next.keep([]);
    await next.settled();
    expect(ids(await plan())).toEqual([]);
  });

  it('is what the command line names and nothing else, and leaves what is kept as it is', async () => {
    const first = await plan();
    first.keep(first.served);
    await first.settled();
    const before = await readFile(keptIn, 'utf8');
    const named = await plan([await another('named')]);
    expect(ids(named)).toEqual(['named']);
    named.keep([]);
    await named.settled();
    expect(await readFile(keptIn, 'utf8')).toBe(before);
  });

  it('leaves out what cannot be had now, says so, and keeps it for the next start', async () => {
    const first = await plan();
    const path = await another('second');
    first.keep([...first.served, await openServedModel({ ...FORMATS, location: path })]);
    await first.settled();
    await rm(path);
    const without = await plan();
    expect(ids(without)).toEqual(['skein-tiny']);
    expect(logLines.join('\n')).toContain(`${path} is not served`);
    without.keep(without.served);
    await without.settled();
    await symlink(TINY, path);
    expect(new Set(ids(await plan()))).toEqual(new Set(['skein-tiny', 'second']));
  });

  it('is refused where what is kept is no list of models', async () => {
    await mkdir(join(folder, 'state'));
    for (const text of ['', '[]', '{"models":[{"location":""}]}', '{"models":[],"more":1}']) {
      await writeFile(keptIn, text);
      await expect(plan()).rejects.toMatchObject({
        code: 'bad-argument',
        message: expect.stringContaining('Delete it') as string,
      });
    }
  });

  it('keeps the last of many lists, whole', async () => {
    const { keep, settled, served } = await plan();
    for (let count = 0; count < 20; count += 1) keep(count % 2 === 0 ? served : []);
    await settled();
    expect(JSON.parse(await readFile(keptIn, 'utf8'))).toEqual({ models: [] });
    expect(await readdir(join(folder, 'state'))).toEqual(['models.json']);
  });
});

describe('the operator key', () => {
  it('is made once, for its owner only, unless one is given', async () => {
    const first = await operatorKey(undefined, folder);
    expect(await operatorKey(undefined, folder)).toEqual(first);
    expect(first.key).toMatch(/^[0-9a-f]{64}$/);
    expect((await stat(first.path ?? '')).mode & 0o777).toBe(0o600);
    expect(await operatorKey('sixteen-letters!', folder)).toEqual({ key: 'sixteen-letters!', path: null });
    for (const weak of ['', 'fifteen-letter!', 'with some spaces in it', 'with-ä-letter-beyond']) {
      await expect(operatorKey(weak, folder)).rejects.toMatchObject({ code: 'bad-argument' });
    }
  });

  it('is known, and nothing else is', () => {
    const isOperator = operatorCheck('sixteen-letters!');
    expect(isOperator('sixteen-letters!')).toBe(true);
    for (const wrong of ['', 'sixteen-letters', 'sixteen-letters!!', 'Sixteen-letters!']) {
      expect(isOperator(wrong)).toBe(false);
    }
  });
});

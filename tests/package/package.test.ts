import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunningServer } from '../../signaling/server.ts';
import { NodePeer } from '../churn/node-peer.ts';
import { copyTunings } from '../rig/copy-tunings.ts';
import { startMesh } from '../rig/local-server.ts';
import { findRig } from '../rig/rig.ts';
import { Consumer } from './consumer.ts';
import { docPageScripts, docPrograms } from './doc-programs.ts';

const DOCUMENT = resolve(import.meta.dirname, '../../docs/client.md');
const SERVER_IN_DOCUMENT = 'http://localhost:3000';
const STAGES = 2;
const POLL_MS = 200;
/** Loose: it says that nobody meant to bring a megabyte along. */
const MOST_GZIP_BYTES = 150_000;

const programs = docPrograms(DOCUMENT);

let folder: string;
let consumer: Consumer;
let server: RunningServer;
let peers: NodePeer[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-package-'));
  server = await startMesh(STAGES);
  await copyTunings(folder);
  peers = Array.from({ length: STAGES }, (_, index) => {
    return new NodePeer(`stage ${index + 1}`, {
      serverUrl: server.url,
      cacheFolder: folder,
      vulkanDriver: findRig().vulkanDrivers.lavapipe ?? null,
      onWords: (line) => console.error(line),
    });
  });
  for (const peer of peers) await peer.start();
  consumer = await Consumer.install(join(folder, 'consumer'));
  await everyLayerServed();
});

afterAll(async () => {
  await Promise.all(peers.map((peer) => peer.crash()));
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

async function everyLayerServed(): Promise<void> {
  for (;;) {
    const health = (await (await fetch(`${server.url}/healthz`)).json()) as { covered: string[] };
    if (health.covered.length > 0) return;
    await sleep(POLL_MS);
  }
}

function hereInstead(code: string): string {
  expect(code).toContain(SERVER_IN_DOCUMENT);
  return code.replaceAll(SERVER_IN_DOCUMENT, server.url);
}

describe('the packed client', () => {
  it('has the modules and their types, and needs two packages', () => {
    const manifest = JSON.parse(readFileSync(join(consumer.package, 'package.json'), 'utf8')) as {
      dependencies: object;
    };
    expect(Object.keys(manifest.dependencies)).toEqual(['@roamhq/wrtc', 'ws']);
    expect(readdirSync(consumer.package).sort()).toEqual([
      'LICENSE',
      'README.md',
      'dist-client',
      'package.json',
    ]);
  });

  it.each(['bundler', 'nodenext'] as const)('type-checks strictly, resolved as by %s', async (resolution) => {
    const paths = await Promise.all(
      programs.map(({ code }, index) => consumer.write(`program-${index}-${resolution}.ts`, code)),
    );
    expect(consumer.complaints(paths, resolution)).toEqual([]);
  });

  it('has types that refuse what is wrong', async () => {
    const wrong = await consumer.write(
      'wrong.ts',
      `import { connect } from 'skein/client';
       const skein = await connect('http://localhost:3000');
       const stream = await skein.completions.create({ model: 'm', prompt: 'a', stream: true });
       stream.choices;
       const whole = await skein.completions.create({ model: 'm', prompt: 'a' });
       for await (const chunk of whole) chunk;
       await skein.completions.create({ model: 'm', prompt: 'a', temperature: 'hot' });
       await skein.completions.create({ model: 'm', prompt: 'a', audio: true });`,
    );
    const complaints = consumer.complaints([wrong], 'bundler').join('\n');
    for (const word of ["'choices'", 'asyncIterator', "'string'", "'audio'"]) {
      expect(complaints).toContain(word);
    }
  });

  it('is bundled for a browser without what is for Node', async () => {
    const [script = ''] = docPageScripts(DOCUMENT);
    const entry = await consumer.write('page.js', script);
    const bundles = await build({
      configFile: false,
      root: consumer.folder,
      logLevel: 'silent',
      build: { write: false, target: 'es2022', rolldownOptions: { input: entry } },
    });
    const [bundle] = [bundles].flat();
    if (bundle === undefined || !('output' in bundle)) throw new Error('Nothing was built.');
    const code = bundle.output.map((part) => (part.type === 'chunk' ? part.code : '')).join('\n');
    expect(code).toContain('/signal');
    expect(code).not.toMatch(/roamhq|wrtc"|from ?"(ws|node:)|__vite-browser-external/);
    const gzipBytes = gzipSync(code).length;
    console.log(`A page with the client alone: ${code.length} bytes, ${gzipBytes} with gzip.`);
    expect(gzipBytes).toBeLessThan(MOST_GZIP_BYTES);
  });

  it.each(programs)('runs in Node as documented: $heading', async ({ heading, code, output }) => {
    expect(await consumer.run(heading.toLowerCase(), hereInstead(code))).toBe(output);
  });
});

import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

const loader = resolve(import.meta.dirname, '../../../src/cli/wgsl-loader.mjs');
const SHADER = '// `quotes` "and" \\ backslashes\nfn main() {}\n';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein loader '));
  await mkdir(join(folder, 'engine/kernels'), { recursive: true });
  await mkdir(join(folder, 'shaders'));
  await writeFile(join(folder, 'shaders/norm.wgsl'), SHADER);
  await writeFile(
    join(folder, 'engine/kernels/norm.mjs'),
    "import code from '../../shaders/norm.wgsl?raw';\nprocess.stdout.write(code);\n",
  );
  await writeFile(join(folder, 'engine/kernels/lost.mjs'), "import '../shaders/norm.wgsl?raw';\n");
});
afterAll(() => rm(folder, { recursive: true }));

function runNode(script: string): string {
  const args = ['--import', loader, join(folder, script)];
  return execFileSync(process.execPath, args, { encoding: 'utf8', cwd: tmpdir(), stdio: 'pipe' });
}

it('gives Node the text of a shader, found from the file that imports it', () => {
  expect(runNode('engine/kernels/norm.mjs')).toBe(SHADER);
});

it('names a shader that is not there', () => {
  expect(() => runNode('engine/kernels/lost.mjs')).toThrow(/engine\/shaders\/norm\.wgsl/);
});

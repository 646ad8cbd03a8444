import { execFile } from 'node:child_process';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';

const ROOT = resolve(import.meta.dirname, '../..');
const RUN_TIMEOUT_MS = 60_000;

const run = promisify(execFile);

/** Somebody else's project, which has the packed package and nothing else. */
export class Consumer {
  private constructor(readonly folder: string) {}

  /** Packs this repository and installs what comes out. @param folder must not exist. */
  static async install(folder: string): Promise<Consumer> {
    await mkdir(folder, { recursive: true });
    await npm(ROOT, ['pack', '--pack-destination', folder]);
    const packed = (await readdir(folder)).find((name) => name.endsWith('.tgz'));
    if (packed === undefined) throw new Error('npm pack wrote no package.');
    await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
    await npm(folder, ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', packed]);
    return new Consumer(folder);
  }

  /** Where the package is installed. */
  get package(): string {
    return join(this.folder, 'node_modules/skein');
  }

  async write(name: string, text: string): Promise<string> {
    const path = join(this.folder, name);
    await writeFile(path, text);
    return path;
  }

  /** What a strict compiler says of TypeScript files, declarations of packages included. */
  complaints(paths: readonly string[], resolution: 'bundler' | 'nodenext'): string[] {
    const isBundler = resolution === 'bundler';
    const program = ts.createProgram(paths, {
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noEmit: true,
      types: [],
      lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'],
      target: ts.ScriptTarget.ES2022,
      module: isBundler ? ts.ModuleKind.ESNext : ts.ModuleKind.NodeNext,
      moduleResolution: isBundler ? ts.ModuleResolutionKind.Bundler : ts.ModuleResolutionKind.NodeNext,
    });
    return ts.getPreEmitDiagnostics(program).map(({ file, messageText }) => {
      return `${file?.fileName ?? ''}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });
  }

  /** Runs a TypeScript program in Node until it ends by itself. @returns what it printed. */
  async run(name: string, code: string): Promise<string> {
    const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
    const { outputText } = ts.transpileModule(code, { compilerOptions: options });
    const path = await this.write(`${name}.mjs`, outputText);
    const { stdout } = await run(process.execPath, [path], { cwd: this.folder, timeout: RUN_TIMEOUT_MS });
    return stdout;
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function npm(cwd: string, args: readonly string[]): Promise<void> {
  const path = process.env['npm_execpath'];
  if (path === undefined) await run('npm', args, { cwd, shell: process.platform === 'win32' });
  else await run(process.execPath, [path, ...args], { cwd });
}

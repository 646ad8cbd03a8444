import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import ts from 'typescript';
import { defineConfig } from 'vite';
import type { Plugin } from 'vite';

const ROOT = import.meta.dirname;
const SOURCES = resolve(ROOT, 'src');
const CLIENT = resolve(SOURCES, 'client/connect');
const OUT = resolve(ROOT, 'dist-client');

/** What `skein/client` is outside of this repository: one module for browsers, one for Node, and the types of both. */
export default defineConfig({
  publicDir: false,
  plugins: [declarations(join(CLIENT, 'browser.ts'))],
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: 'es2022',
    lib: {
      entry: { browser: join(CLIENT, 'browser.ts'), node: join(CLIENT, 'node.ts') },
      formats: ['es'],
    },
    rolldownOptions: { external: ['@roamhq/wrtc', 'ws'] },
  },
});

/**
 * Writes the declarations of a module and of those that its declarations name, and of no others: types of what is inside, and of
 * the packages there, are nobody's business.
 */
function declarations(entry: string): Plugin {
  return {
    name: 'declarations',
    closeBundle() {
      const { options } = ts.parseJsonConfigFileContent(
        ts.readConfigFile(resolve(ROOT, 'tsconfig.json'), (path) => ts.sys.readFile(path)).config,
        ts.sys,
        ROOT,
        { noEmit: false, declaration: true, emitDeclarationOnly: true },
      );
      const program = ts.createProgram([entry], options);
      const wanted = [entry];
      for (const path of wanted) {
        const text = declarationOf(program, path).replace(/(from '\.[^']*)\.ts'/g, "$1.js'");
        const to = join(OUT, 'types', relative(SOURCES, path).replace(/\.ts$/, '.d.ts'));
        mkdirSync(dirname(to), { recursive: true });
        writeFileSync(to, text);
        for (const [, named = ''] of text.matchAll(/from '([^']*)'/g)) {
          if (!named.startsWith('.'))
            this.error(`The types of the client name the package ${named}, in ${path}.`);
          const next = resolve(dirname(path), named.replace(/\.js$/, '.ts'));
          if (!wanted.includes(next)) wanted.push(next);
        }
      }
    },
  };
}

function declarationOf(program: ts.Program, path: string): string {
  let text = '';
  const { diagnostics } = program.emit(
    program.getSourceFile(path),
    (_name, written) => (text = written),
    undefined,
    true,
  );
  const [problem] = diagnostics;
  if (problem) throw new Error(`${path}: ${ts.flattenDiagnosticMessageText(problem.messageText, '\n')}`);
  if (text === '') throw new Error(`${path} has no declarations.`);
  return text;
}

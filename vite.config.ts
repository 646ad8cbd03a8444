import { resolve } from 'node:path';
import { defineConfig } from 'vitest/config';

const pages = resolve(import.meta.dirname, 'src/ui/pages');

export default defineConfig({
  root: pages,
  publicDir: resolve(import.meta.dirname, 'public'),
  build: {
    outDir: resolve(import.meta.dirname, 'dist'),
    emptyOutDir: true,
    target: 'es2022',
    rolldownOptions: {
      input: {
        chat: resolve(pages, 'index.html'),
        contribute: resolve(pages, 'contribute/index.html'),
      },
    },
  },
  worker: { format: 'es' },
  test: {
    root: import.meta.dirname,
    projects: [
      { extends: true, test: { name: 'unit', include: ['tests/unit/**/*.test.ts'] } },
      {
        extends: true,
        test: { name: 'mesh', include: ['tests/mesh/**/*.test.ts'], pool: 'forks', testTimeout: 60_000 },
      },
    ],
  },
});

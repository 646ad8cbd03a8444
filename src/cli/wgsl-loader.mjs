/** Imported before anything else, also by `node --import`: makes `import code from './x.wgsl?raw'` mean in Node what it means in Vite. */
import { register } from 'node:module';

register('./wgsl-hooks.mjs', import.meta.url);

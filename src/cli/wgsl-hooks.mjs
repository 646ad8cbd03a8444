/** Module hooks (https://nodejs.org/docs/latest-v20.x/api/module.html#hooks) for shader sources imported as text. */
import { readFile } from 'node:fs/promises';

const SHADER_TEXT = '.wgsl?raw';

export async function resolve(specifier, context, nextResolve) {
  if (!specifier.endsWith(SHADER_TEXT)) return nextResolve(specifier, context);
  return { url: new URL(specifier, context.parentURL).href, format: 'module', shortCircuit: true };
}

export async function load(url, context, nextLoad) {
  if (!url.endsWith(SHADER_TEXT)) return nextLoad(url, context);
  const file = new URL(url);
  file.search = '';
  const text = await readFile(file, 'utf8');
  return { format: 'module', source: `export default ${JSON.stringify(text)};`, shortCircuit: true };
}

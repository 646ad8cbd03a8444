import { readFile, writeFile } from 'node:fs/promises';
import { format, resolveConfig } from 'prettier';
import { SkeinError } from '../../src/protocol/errors.ts';

/**
 * Puts text between the marks `<!-- sim NAME -->` and `<!-- end of sim NAME -->` of a page of Markdown.
 * @throws SkeinError `bad-argument` when the page lacks them.
 */
export async function putIntoPage(path: string, name: string, text: string): Promise<void> {
  const page = await readFile(path, 'utf8');
  const [start, end] = [`<!-- sim ${name} -->`, `<!-- end of sim ${name} -->`];
  const [from, to] = [page.indexOf(start), page.indexOf(end)];
  if (from < 0 || to < from) {
    throw new SkeinError(
      'bad-argument',
      `${path} has no place for the table: put ${start} and ${end} there.`,
    );
  }
  const changed = `${page.slice(0, from + start.length)}\n\n${text}\n\n${page.slice(to)}`;
  const config = await resolveConfig(path);
  await writeFile(path, await format(changed, { ...config, parser: 'markdown' }));
}

import { readFileSync } from 'node:fs';

/** A program of a document, with what it prints. */
export interface DocProgram {
  /** The heading it stands under. */
  readonly heading: string;
  readonly code: string;
  readonly output: string;
}

/** `## heading`, or a fenced block with its language and its lines. */
const PARTS = /^## (?<heading>.*)$|^```(?<language>\w+)\n(?<lines>[^]*?)^```$/gm;

/** Every block of TypeScript of a Markdown file. @throws Error for one that is not followed by what it prints. */
export function docPrograms(path: string): DocProgram[] {
  const programs: DocProgram[] = [];
  let heading = '';
  let code: string | null = null;
  for (const { groups } of readFileSync(path, 'utf8').matchAll(PARTS)) {
    const { language, lines = '' } = groups ?? {};
    if (code !== null) {
      if (language !== 'text') throw new Error(`"${heading}" in ${path} does not say what it prints.`);
      programs.push({ heading, code, output: lines });
      code = null;
    } else if (language === 'ts') code = lines;
    heading = groups?.['heading'] ?? heading;
  }
  return programs;
}

/** The scripts of the pages in a Markdown file. */
export function docPageScripts(path: string): string[] {
  const scripts = readFileSync(path, 'utf8').matchAll(/<script type="module">\n([^]*?)<\/script>/g);
  return [...scripts].map(([, script = '']) => script);
}

import { SkeinError } from '../protocol/errors.ts';

/** The address of a server as people write it: with or without `http://`. @throws SkeinError `bad-argument`. */
export function parseServerUrl(text: string): string {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (URL.canParse(withScheme)) {
    const { protocol, href } = new URL(withScheme);
    if (protocol === 'http:' || protocol === 'https:') return href;
  }
  throw new SkeinError(
    'bad-argument',
    `"${text}" is no address of a Skein server, such as http://localhost:3000.`,
  );
}

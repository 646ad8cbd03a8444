import { Argument, InvalidArgumentError, Option } from 'commander';
import { SkeinError } from '../protocol/errors.ts';
import { parseServerUrl } from '../mesh/server-url.ts';

/** Where `skein serve` listens when nothing is said. */
export const DEFAULT_SERVER = 'http://localhost:3000/';

const WHAT = 'address of the server, such as http://localhost:3000';

/** `<url>`, which has to be given. */
export function serverArgument(): Argument {
  return new Argument('<url>', WHAT).argParser(parse);
}

/** `[url]`: of the server on this machine where nothing is said. */
export function optionalServerArgument(): Argument {
  return new Argument('[url]', 'address of the server').argParser(parse).default(DEFAULT_SERVER);
}

export function serverOption(words: string): Option {
  return new Option('--server <url>', words).argParser(parse);
}

function parse(text: string): string {
  try {
    return parseServerUrl(text);
  } catch (thrown) {
    throw new InvalidArgumentError(SkeinError.from(thrown).message);
  }
}

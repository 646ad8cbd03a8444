import { join } from 'node:path';
import { Option } from 'commander';
import { MIN_OPERATOR_KEY_CHARACTERS } from '../../signaling/admin-key.ts';
import { SkeinError } from '../protocol/errors.ts';
import { serverSecret } from './server-secret.ts';

/** What makes its owner the operator of a server, and where it is kept; null where the operator gave it. */
export interface OperatorKey {
  readonly key: string;
  readonly path: string | null;
}

export function operatorKeyOption(): Option {
  return new Option(
    '--operator-key <key>',
    'what the operator shows to add and remove models; one is made and kept where none is given; better in the environment, since others see the command line',
  ).env('SKEIN_OPERATOR_KEY');
}

/**
 * @param given by the operator. @param folder where one is kept, and made, that was not.
 * @throws SkeinError `bad-argument` for one that is too short or has spaces, or cannot be kept.
 */
export async function operatorKey(given: string | undefined, folder: string): Promise<OperatorKey> {
  if (given === undefined) {
    const path = join(folder, 'operator-key');
    return { key: Buffer.from(await serverSecret(path)).toString('hex'), path };
  }
  if (given.length >= MIN_OPERATOR_KEY_CHARACTERS && /^[\x21-\x7e]+$/.test(given))
    return { key: given, path: null };
  throw new SkeinError(
    'bad-argument',
    `An operator key has ${MIN_OPERATOR_KEY_CHARACTERS} characters or more, without spaces. Make one with: openssl rand -hex 32`,
  );
}

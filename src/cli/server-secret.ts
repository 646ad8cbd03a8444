import { randomBytes, randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { SkeinError } from '../protocol/errors.ts';

const SECRET_BYTES = 32;
/** Rights of anybody but the file's owner. */
const OTHERS_RIGHTS = 0o077;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Where this user's programs keep what is to outlive them: in `XDG_STATE_HOME` or ~/.local/state.
 * @see https://specifications.freedesktop.org/basedir-spec/latest/ relative paths are to be ignored.
 */
export function stateFolder(env: Environment, home = homedir()): string {
  const folder = env['XDG_STATE_HOME'] ?? '';
  return join(isAbsolute(folder) ? folder : join(home, '.local', 'state'), 'skein');
}

export function serverSecretPath(env: Environment, home = homedir()): string {
  return join(stateFolder(env, home), 'server-secret');
}

/**
 * What proves to a server that it gave a peer its id, the same at every start: 32 random bytes in hex, made when there is no
 * such file, and for nobody else to read.
 * @throws SkeinError `bad-argument` for a file that cannot be made or read, that others can read, or that holds something else.
 */
export async function serverSecret(path: string): Promise<Uint8Array> {
  await attempt(path, 'cannot be made', () => makeSecret(path));
  const { mode } = await attempt(path, 'cannot be read', () => stat(path));
  // Windows has rights of another kind.
  if (process.platform !== 'win32' && (mode & OTHERS_RIGHTS) !== 0) {
    throw unusable(path, 'can be read by others. Run chmod 600 on it if nobody has, or delete it');
  }
  const text = await attempt(path, 'cannot be read', () => readFile(path, 'utf8'));
  const secret = Buffer.from(text.trim(), 'hex');
  if (secret.byteLength === SECRET_BYTES) return secret;
  throw unusable(path, `does not hold ${SECRET_BYTES} bytes in hex. Delete it, and another is made`);
}

/** Leaves a file that is there as it is. Nobody ever sees half of one: it gets its name when it is whole. */
async function makeSecret(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomUUID()}`;
  try {
    await writeFile(draft, `${randomBytes(SECRET_BYTES).toString('hex')}\n`, { mode: 0o600, flag: 'wx' });
    await link(draft, path);
  } catch (thrown) {
    if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'EEXIST')) throw thrown;
  } finally {
    await rm(draft, { force: true });
  }
}

async function attempt<T>(path: string, what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    throw unusable(path, `${what}: ${SkeinError.from(cause).message}`, cause);
  }
}

function unusable(path: string, what: string, cause?: unknown): SkeinError {
  return new SkeinError('bad-argument', `${path} ${what}.`, { cause });
}

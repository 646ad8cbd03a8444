import { readFile, stat, writeFile } from 'node:fs/promises';
import { SkeinError } from '../../protocol/errors.ts';
import { loadConversation } from './conversation.ts';

/** No conversation that a model could read is as long. */
const MAX_FILE_BYTES = 16 * 1024 ** 2;

/** Where conversations are kept. */
export interface ChatFiles {
  /** Writes over what `/save` wrote before, and over nothing else. */
  write(path: string, text: string): Promise<void>;
  read(path: string): Promise<string>;
}

export const diskFiles: ChatFiles = {
  async write(path, text) {
    try {
      await writeFile(path, text, { flag: 'wx' });
    } catch (thrown) {
      if (!isExists(thrown)) throw thrown;
      await checkIsChat(path);
      await writeFile(path, text);
    }
  },
  async read(path) {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) {
      throw new SkeinError(
        'bad-argument',
        `${path} has ${size} bytes, and a conversation at most ${MAX_FILE_BYTES}.`,
      );
    }
    return readFile(path, 'utf8');
  },
};

async function checkIsChat(path: string): Promise<void> {
  try {
    loadConversation(await diskFiles.read(path));
  } catch (cause) {
    throw new SkeinError(
      'bad-argument',
      `${path} is there and is no kept conversation. Choose another name.`,
      { cause },
    );
  }
}

function isExists(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === 'EEXIST';
}

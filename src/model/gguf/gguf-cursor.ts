import { SkeinError } from '../../protocol/errors.ts';
import { MAX_GGUF_HEADER_BYTES, MAX_GGUF_STRING_BYTES } from '../../protocol/limits.ts';
import type { FileSource } from '../file-source.ts';
import { describeFile } from '../model-path.ts';

const FIRST_READ_BYTES = 64 * 1024;
/** Each read is twice the one before, up to this: a large vocabulary makes a header of megabytes. */
const LARGEST_READ_BYTES = 4 * 1024 * 1024;

/** Walks through the header of a GGUF file by ranges. Nothing is allocated by a length that the file only claims. */
export class GgufCursor {
  readonly file: string;
  #position = 0;
  #window = new DataView(new ArrayBuffer(0));
  #windowStart = 0;
  #nextReadBytes = FIRST_READ_BYTES;

  constructor(
    private readonly source: FileSource,
    private readonly path: string,
    readonly fileBytes: number,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.file = describeFile(source, path);
  }

  /** Byte of the file that comes next. */
  get position(): number {
    return this.#position;
  }

  async u8(): Promise<number> {
    return (await this.#take(1)).getUint8(0);
  }

  async u32(): Promise<number> {
    return (await this.#take(4)).getUint32(0, true);
  }

  /** Beyond 2^53 not exact, but still too large for every check. */
  async u64(): Promise<number> {
    return Number((await this.#take(8)).getBigUint64(0, true));
  }

  /** A view of the next bytes, valid until the next call. @param length of a fixed type, or one that was checked. */
  take(length: number): Promise<DataView> {
    return this.#take(length);
  }

  /** @param what for messages. @throws SkeinError `model-corrupt` for a string that is too long or not UTF-8. */
  async string(what: string): Promise<string> {
    const bytes = await this.#take(await this.#stringBytes(what));
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (cause) {
      throw this.corrupt(`has ${what} that is not UTF-8`, cause);
    }
  }

  /** Passes over a string without decoding it. */
  async skipString(what: string): Promise<void> {
    this.skip(await this.#stringBytes(what));
  }

  /** Passes over bytes without reading them. @throws SkeinError `model-corrupt` past the end of any header. */
  skip(length: number): void {
    const end = this.#position + length;
    if (end > this.fileBytes) {
      throw this.corrupt(`ends before byte ${end}, where its header goes on; it may be cut off`);
    }
    if (end > MAX_GGUF_HEADER_BYTES) {
      throw this.corrupt(`has a header of more than ${MAX_GGUF_HEADER_BYTES} bytes, the most there may be`);
    }
    this.#position = end;
  }

  corrupt(problem: string, cause?: unknown): SkeinError {
    return new SkeinError('model-corrupt', `${this.file} ${problem}. Download it again.`, {
      data: { file: this.file },
      cause,
    });
  }

  async #stringBytes(what: string): Promise<number> {
    const length = await this.u64();
    if (length <= MAX_GGUF_STRING_BYTES) return length;
    throw this.corrupt(`has ${what} of ${length} bytes; ${MAX_GGUF_STRING_BYTES} are the most there may be`);
  }

  async #take(length: number): Promise<DataView> {
    const start = this.#position;
    this.skip(length);
    if (start < this.#windowStart || this.#position > this.#windowStart + this.#window.byteLength) {
      const end = Math.min(this.fileBytes, start + Math.max(length, this.#nextReadBytes));
      const bytes = await this.source.read(this.path, start, end, this.signal);
      this.#nextReadBytes = Math.min(LARGEST_READ_BYTES, this.#nextReadBytes * 2);
      this.#window = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.#windowStart = start;
    }
    const offset = this.#window.byteOffset + start - this.#windowStart;
    return new DataView(this.#window.buffer, offset, length);
  }
}

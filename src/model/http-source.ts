import { SkeinError } from '../protocol/errors.ts';
import { allocateBytes } from './allocate.ts';
import { BROWSER_OR_NODE, withAttempts } from './http-attempts.ts';
import { folderUrl, namedGgufFile } from './http-location.ts';
import * as http from './http-response.ts';
import { assertInnerPath, describeFile, missingFile, shortFile } from './model-path.ts';
import { WholeFile, WholeFileCache } from './whole-file.ts';
import type { VersionedSource } from './cached-source.ts';
import type { Attempt, HttpEnvironment } from './http-attempts.ts';

/**
 * Largest file taken from a server that ignores `Range`: it comes whole and stays in memory while parts of it are asked for.
 * Larger models need a server that serves parts.
 */
export const MAX_WHOLE_FILE_BYTES = 512 * 1024 * 1024;

/** The bytes `[start, end)` asked for could not be had alone, because the server sends whole files only. */
const SERVER_IGNORES_RANGES = Symbol('server ignores ranges');

/** A model folder on a web server or the hub, read by `Range` requests. Runs in pages, workers and Node. */
export class HttpSource implements VersionedSource {
  readonly description: string;
  readonly #folder: URL;
  readonly #ggufFile: string | null;
  readonly #environment: HttpEnvironment;
  readonly #wholeFiles = new WholeFileCache();
  readonly #versions = new Map<string, string | null>();

  /** @param location an http(s) URL of a folder or of a GGUF file in it, or a hub id. @throws SkeinError `bad-argument` for anything else. */
  constructor(location: string, environment: Partial<HttpEnvironment> = {}) {
    this.#folder = folderUrl(location);
    this.#ggufFile = namedGgufFile(location);
    this.description = this.#folder.origin + this.#folder.pathname.replace(/\/$/, '');
    this.#environment = { ...BROWSER_OR_NODE, ...environment };
  }

  ggufFile(): Promise<string | null> {
    return Promise.resolve(this.#ggufFile);
  }

  async sizeBytes(path: string, signal?: AbortSignal): Promise<number | null> {
    // A one-byte range rather than HEAD: its answer is never compressed, and the hub gives it for every kind of file.
    const size = await this.#attempts(path, signal, async (attempt) => {
      const response = await this.#request(path, attempt, { headers: { range: 'bytes=0-0' } });
      if (response === null) return null;
      this.#versions.set(path, http.versionOf(response));
      await http.finishBody(response, attempt);
      if (response.status === http.PARTIAL_CONTENT || response.status === http.RANGE_NOT_SATISFIABLE) {
        return http.totalBytes(response) ?? this.#sizeFromHead(path, attempt);
      }
      return http.bodyBytes(response) ?? SERVER_IGNORES_RANGES;
    });
    return size === SERVER_IGNORES_RANGES ? (await this.#wholeFile(path, signal)).sizeBytes : size;
  }

  async version(path: string, signal?: AbortSignal): Promise<string | null> {
    if (!this.#versions.has(path)) await this.sizeBytes(path, signal);
    return this.#versions.get(path) ?? null;
  }

  async read(
    path: string,
    start: number,
    end: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (start === end) return new Uint8Array(0);
    if (!this.#wholeFiles.holds(describeFile(this, path))) {
      const bytes = await this.#readRange(path, start, end, signal);
      if (bytes !== SERVER_IGNORES_RANGES) return bytes;
    }
    const file = await this.#wholeFile(path, signal);
    if (file.sizeBytes < end) throw shortFile(this, path, start, end);
    return file.slice(start, end);
  }

  /** An attempt goes on where the last one broke off. */
  async #readRange(path: string, start: number, end: number, signal: AbortSignal | undefined) {
    const bytes = allocateBytes(end - start, describeFile(this, path));
    let filled = 0;
    return this.#attempts(path, signal, async (attempt) => {
      if (filled === bytes.length) return bytes;
      const first = start + filled;
      const response = await this.#request(path, attempt, {
        headers: { range: `bytes=${first}-${end - 1}` },
      });
      if (response === null) throw missingFile(this, path, 'does not exist.');
      if (response.status !== http.PARTIAL_CONTENT || !http.beginsAt(response, first)) {
        http.discardBody(response);
        if (response.status === http.RANGE_NOT_SATISFIABLE) throw shortFile(this, path, start, end);
        return SERVER_IGNORES_RANGES;
      }
      for await (const chunk of http.bodyChunks(response, attempt)) {
        const wanted = chunk.subarray(0, bytes.length - filled);
        bytes.set(wanted, filled);
        filled += wanted.length;
        // Only a body that goes on for too long is hung up on: Chromium counts one that is not read to its end as broken
        // off, closes the connection, and may answer the same range to another tab from its cache with no body at all.
        if (wanted.length < chunk.length) return bytes;
      }
      if (filled === bytes.length) return bytes;
      if ((http.totalBytes(response) ?? end) < end) throw shortFile(this, path, start, end);
      throw new Error(`the answer ended ${bytes.length - filled} bytes early`);
    });
  }

  #wholeFile(path: string, signal: AbortSignal | undefined): Promise<WholeFile> {
    const file = describeFile(this, path);
    const download = () =>
      this.#attempts(path, signal, async (attempt) => {
        const response = await this.#request(path, attempt, {});
        if (response === null) throw missingFile(this, path, 'does not exist.');
        const chunks: Uint8Array<ArrayBuffer>[] = [];
        let sizeBytes = 0;
        for await (const chunk of http.bodyChunks(response, attempt)) {
          sizeBytes += chunk.length;
          if (Math.max(sizeBytes, http.bodyBytes(response) ?? 0) > MAX_WHOLE_FILE_BYTES) throw tooLarge(file);
          chunks.push(chunk);
        }
        return new WholeFile(file, chunks);
      });
    return this.#wholeFiles.get(file, download, signal);
  }

  /** For pages that may not see `Content-Range` of another origin; `Content-Length` they always may. */
  async #sizeFromHead(path: string, attempt: Attempt): Promise<number | null> {
    const response = await this.#request(path, attempt, { method: 'HEAD' });
    if (response === null) return null;
    const size = http.bodyBytes(response);
    if (size === undefined) {
      throw missingFile(
        this,
        path,
        'has no known size: the server sends neither Content-Range nor Content-Length.',
      );
    }
    return size;
  }

  #attempts<T>(
    path: string,
    signal: AbortSignal | undefined,
    attempt: (attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    return withAttempts(this.#environment, describeFile(this, path), signal, attempt);
  }

  /** @returns null when there is no such file. @throws Error for failures that pass, SkeinError for those that do not. */
  async #request(path: string, attempt: Attempt, init: RequestInit): Promise<Response | null> {
    const response = await this.#environment.fetch(this.#url(path), { ...init, signal: attempt.signal });
    attempt.alive();
    const verdict = http.verdictOf(response);
    if (verdict === 'here') return response;
    http.discardBody(response);
    switch (verdict) {
      case 'absent':
        return null;
      case 'not-now':
        throw new Error(`the server answered with status ${response.status}`);
      case 'denied':
        throw missingFile(
          this,
          path,
          `may not be read (status ${response.status}): the model is private, gated or not there.`,
        );
      case 'refused':
        throw missingFile(this, path, `cannot be read: the server answered with status ${response.status}.`);
    }
  }

  #url(path: string): string {
    assertInnerPath(path, this);
    const url = new URL(path.split('/').map(encodeURIComponent).join('/'), this.#folder);
    url.search = this.#folder.search;
    return url.href;
  }
}

function tooLarge(file: string): SkeinError {
  return new SkeinError(
    'model-unsupported',
    `${file} comes from a server that ignores Range requests and has more than ${MAX_WHOLE_FILE_BYTES} bytes. Serve the model ` +
      'from one that answers them, or as smaller shards.',
    { data: { file, limitBytes: MAX_WHOLE_FILE_BYTES } },
  );
}

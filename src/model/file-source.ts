/** A model folder somewhere: on a server, on a hub, on disk. Paths are relative, with forward slashes. */
export interface FileSource {
  /** For messages: the URL or the folder. */
  readonly description: string;
  /**
   * The GGUF file that holds the model: the one the source was opened by, or the only one of a folder without safetensors.
   * @returns null when there is none, or, over HTTP, when none was named. @throws SkeinError `bad-argument` when there are several.
   */
  ggufFile(signal?: AbortSignal): Promise<string | null>;
  /** @returns null when there is no such file. @throws SkeinError `model-missing` when the source does not answer. */
  sizeBytes(path: string, signal?: AbortSignal): Promise<number | null>;
  /**
   * Bytes `[start, end)` of a file.
   * @throws SkeinError `model-corrupt` when the file is shorter, `model-missing` when there is none.
   */
  read(path: string, start: number, end: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
}

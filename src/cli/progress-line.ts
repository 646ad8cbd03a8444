const BYTES_PER_MB = 1_000_000;

/** One line that is rewritten while something long goes on. Silent when the output is no terminal. */
export class ProgressLine {
  readonly #output: NodeJS.WriteStream;

  constructor(output: NodeJS.WriteStream) {
    this.#output = output;
  }

  /** @param detail behind the numbers, such as how fast it goes. */
  show(what: string, doneBytes: number, totalBytes: number, detail = ''): void {
    if (!this.#output.isTTY) return;
    const percent = totalBytes === 0 ? 0 : Math.floor((doneBytes / totalBytes) * 100);
    const megabytes = (bytes: number) => (bytes / BYTES_PER_MB).toFixed(1);
    this.#output.write(
      `\r${what} ${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB (${percent} %)${detail && `, ${detail}`}\u001b[K`,
    );
  }

  clear(): void {
    if (this.#output.isTTY) this.#output.write('\r\u001b[K');
  }
}

/** Bytes by name that outlast the program: Cache Storage in a browser, a folder in Node. Others may change it at any time. */
export interface ByteStore {
  /** @returns null for a name that is not there. */
  get(name: string): Promise<Uint8Array<ArrayBuffer> | null>;
  /** Whole or not at all. @throws whatever the store throws when it has no room. */
  put(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Does nothing for a name that is not there. */
  delete(name: string): Promise<void>;
  names(): Promise<string[]>;
}

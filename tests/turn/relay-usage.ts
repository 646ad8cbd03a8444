/** What coturn's verbose log says that it relayed. Names of users are `end:peer id`. */
export class RelayUsage {
  readonly #peers = new Set<string>();
  readonly #refused: string[] = [];
  #bytes = 0;
  #rest = '';

  /** Peers that were given an address at the relay. */
  get peers(): ReadonlySet<string> {
    return this.#peers;
  }

  /** Bytes that came from peers to be relayed, as far as was reported: now and then, and when a peer leaves. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Requests that were refused for their credentials. */
  get refused(): readonly string[] {
    return this.#refused;
  }

  /** @param text of the log, not always whole lines. */
  read(text: string): void {
    const lines = `${this.#rest}${text}`.split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#readLine(line);
  }

  #readLine(line: string): void {
    const allocation = /user <\d+:([0-9a-f]{32})>: incoming packet ALLOCATE processed, success/.exec(line);
    if (allocation?.[1] !== undefined) this.#peers.add(allocation[1]);
    const used = /session \d+: usage: .*\brb=(\d+)/.exec(line);
    if (used?.[1] !== undefined) this.#bytes += Number(used[1]);
    // The first request of every peer has no credentials, and is told to bring some: that is 401 Unauthorized, and as it should be.
    if (/ALLOCATE processed, error (?!401: Unauthorized)/.test(line)) this.#refused.push(line);
  }
}

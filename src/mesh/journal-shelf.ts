import type { RequestId } from '../protocol/ids.ts';
import { Journal } from './journal.ts';
import type { JournalRows } from './journal.ts';

interface Entry {
  readonly journal: Journal;
  /** Somebody was told that it is here, and has not got it yet. */
  isPromised: boolean;
}

/**
 * The journals of all sequences of a stage, within a number of bytes. Where they would take more, whole journals go, the one
 * that was fed least recently first: half a journal is of no use. What is lost so is computed again where it is needed.
 */
export class JournalShelf {
  /** In order of feeding, the latest last. */
  readonly #entries = new Map<RequestId, Entry>();
  #sizeBytes = 0;

  constructor(private readonly maxBytes: number) {}

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  find(requestId: RequestId): Journal | null {
    return this.#entries.get(requestId)?.journal ?? null;
  }

  /** What was sent of a sequence. A journal that is promised is not fed. */
  append(requestId: RequestId, rows: JournalRows): void {
    const entry = this.#entries.get(requestId) ?? { journal: new Journal(), isPromised: false };
    this.#entries.delete(requestId);
    this.#entries.set(requestId, entry);
    this.#sizeBytes -= entry.journal.sizeBytes;
    entry.journal.append(rows);
    this.#sizeBytes += entry.journal.sizeBytes;
    while (this.#sizeBytes > this.maxBytes) this.drop(this.#leastRecentlyFed(requestId));
  }

  /** It stays here until the promise is taken back. */
  promise(requestId: RequestId, isPromised: boolean): void {
    const entry = this.#entries.get(requestId);
    if (entry) entry.isPromised = isPromised;
  }

  /** Unknown ids are ignored. */
  drop(requestId: RequestId): void {
    this.#sizeBytes -= this.find(requestId)?.sizeBytes ?? 0;
    this.#entries.delete(requestId);
  }

  /** @param latest goes only where all others are promised. */
  #leastRecentlyFed(latest: RequestId): RequestId {
    for (const [requestId, { isPromised }] of this.#entries) if (!isPromised) return requestId;
    return latest;
  }
}

import { SkeinError } from '../protocol/errors.ts';
import type { OpenRequest, StageInput } from '../protocol/stage.ts';
import { BLOCK_TOKENS } from './batch.ts';
import type { BlockCopy, HeadRequest, RaggedBatch } from './batch.ts';
import type { BlockManager, BlockTable } from './block-manager.ts';
import type { ConstraintGate } from './constraint-gate.ts';
import { InputLog, rowsOf } from './input-log.ts';
import type { PlannableSequence } from './plan.ts';
import type { TokenHistory } from './token-history.ts';

/** Where a sequence stands with the cache. */
export type Stand =
  /** Nothing came yet; the table holds what `open` found of its prompt. */
  | 'opened'
  /** It has its pinned blocks at most, and waits until there is room for the others. */
  | 'waiting'
  /** It takes blocks as its rows are planned. */
  | 'resident'
  /** Closed or failed: it holds nothing any more. */
  | 'over';

/**
 * One request on one stage: what came, what of it is in the cache, and what was passed on. Its blocks may be taken from it
 * between any two batches, and are computed again from its log; nothing is passed on twice.
 */
export class Sequence {
  readonly #blocks: BlockManager;
  readonly #table: BlockTable;
  readonly #promptKeys: readonly string[];
  #stand: Stand = 'opened';
  #log = new InputLog(0);
  /** Tokens in the cache. */
  #cacheLength: number;
  /** Tokens that were in the cache at some time: what came of them was passed on. */
  #passedOn = 0;
  /** Leading blocks that were cached before this sequence began, and that its log does not reach. */
  #pinnedBlocks: number;

  /**
   * @param age counts the sequences of a stage.
   * @param cacheScope see StageExecutor.open.
   * @param history what sampling counts; null where nothing is sampled.
   * @param isPrivate whether the scope is of this sequence alone, and what is kept there goes with it.
   * @param constraint what the answer has to keep to, of this sequence from here on; null for nothing, or where nothing is sampled.
   */
  constructor(
    readonly request: OpenRequest,
    readonly age: number,
    blocks: BlockManager,
    private readonly cacheScope: string,
    private readonly history: TokenHistory | null,
    private readonly isPrivate = false,
    private readonly constraint: ConstraintGate | null = null,
  ) {
    this.#blocks = blocks;
    this.#promptKeys = keysOf(cacheScope, request.blockHashes);
    // The last token of a prompt is computed in any case: the answer begins with what comes of it.
    const usableBlocks = Math.floor((request.promptTokens - 1) / BLOCK_TOKENS);
    this.#table = blocks.open(this.#promptKeys.slice(0, usableBlocks));
    this.#pinnedBlocks = this.#table.blocks.length;
    this.#cacheLength = this.#pinnedBlocks * BLOCK_TOKENS;
  }

  get stand(): Stand {
    return this.#stand;
  }

  get cacheLength(): number {
    return this.#cacheLength;
  }

  /** The blocks as they are now. */
  get blockTable(): readonly number[] {
    return [...this.#table.blocks];
  }

  get logBytes(): number {
    return this.#log.sizeBytes;
  }

  /** Whether the next rows were computed before, and only their place in the cache was lost. */
  get isRecomputing(): boolean {
    return this.#cacheLength < this.#passedOn;
  }

  /** @param idleMs how long ago there was last anything to compute; while there is, it does not count. */
  plannable(waitedSteps: number, idleMs: number): PlannableSequence {
    const { promptTokens, route } = this.request;
    const cacheLength = this.#admittedLength;
    const pendingRows = this.#pendingRows(cacheLength);
    const isResident = this.#stand === 'resident';
    return {
      requestId: route.requestId,
      age: this.age,
      isResident,
      phase: cacheLength < Math.max(promptTokens, this.#passedOn) ? 'prefill' : 'decode',
      pendingRows,
      hopCount: route.hops.length,
      waitedSteps,
      cacheLength,
      blocks: this.#table.blocks,
      pinnedBlocks: this.#pinnedBlocks,
      knownTokens: Math.max(promptTokens, this.#log.end),
      writesShared: isResident && this.#writesShared(),
      idleMs: pendingRows > 0 ? null : idleMs,
    };
  }

  /**
   * Takes rows in. The first may come at any block up to what `open` found; what was found beyond is given up.
   * @throws SkeinError `bad-frame` for a gap, an overlap or rows past the announced end.
   */
  append(position: number, input: StageInput): void {
    const { promptTokens, maxTokens } = this.request;
    const rows = rowsOf(input);
    const isFirst = this.#stand === 'opened';
    const isNext = isFirst
      ? position % BLOCK_TOKENS === 0 && position <= this.#cacheLength
      : position === this.#log.end;
    if (!isNext) {
      const expected = isFirst ? `a block boundary up to ${this.#cacheLength}` : String(this.#log.end);
      throw new SkeinError('bad-frame', `Rows at position ${position} came where ${expected} was next.`, {
        data: { position, expected },
      });
    }
    if (rows === 0 || position + rows > promptTokens + maxTokens) {
      throw new SkeinError(
        'bad-frame',
        `${rows} rows at position ${position} do not fit a request of ${promptTokens} + ${maxTokens} tokens.`,
      );
    }
    if (isFirst) this.#begin(position);
    this.#log.append(input);
  }

  /**
   * Takes back into its table what the cache still has of it; from now on it may take blocks.
   * @param cacheLength as `plannable` said: what came into the cache since then was not planned with.
   */
  admit(cacheLength: number): void {
    if (this.#stand !== 'waiting') return;
    const keys = this.#lostKeys();
    this.#blocks.attach(this.#table, keys.slice(0, cacheLength / BLOCK_TOKENS - this.#pinnedBlocks));
    // What was taken back may get the name of its tokens later, and what was not is of no use any more.
    this.#blocks.forget(keys.filter((key) => this.#isOwnKey(key)));
    this.#cacheLength = this.#table.blocks.length * BLOCK_TOKENS;
    this.#stand = 'resident';
  }

  /** Gives up its blocks but for the pinned ones. As long as nobody needs their room, the full ones can be taken back. */
  preempt(): void {
    if (this.#stand !== 'resident') return;
    this.#registerFrom(this.#pinnedBlocks, (index) => this.#resumeKey(index));
    this.#blocks.cut(this.#table, this.#pinnedBlocks);
    this.#cacheLength = this.#pinnedBlocks * BLOCK_TOKENS;
    this.#stand = 'waiting';
  }

  /** Makes room for its next rows. @returns the copies to be made before they are computed. */
  extend(rowCount: number): BlockCopy[] {
    return this.#blocks.extend(this.#table, this.#cacheLength, this.#cacheLength + rowCount);
  }

  /** Copies its next rows from the log into the input of a batch, from row `firstRow` on. */
  writeRows(rowCount: number, input: RaggedBatch['input'], firstRow: number, hiddenSize: number): void {
    const endRow = firstRow + rowCount;
    if (input.kind === 'tokens') {
      this.#log.readTokens(this.#cacheLength, input.tokenIds.subarray(firstRow, endRow));
    } else {
      const target = input.values.subarray(firstRow * hiddenSize, endRow * hiddenSize);
      this.#log.readActivations(this.#cacheLength, rowCount, target);
    }
  }

  /** After a batch with its next rows: they are in the cache, and full blocks of the prompt can be shared from now on. */
  commit(rowCount: number): void {
    const from = Math.floor(this.#cacheLength / BLOCK_TOKENS);
    this.#cacheLength += rowCount;
    this.#passedOn = Math.max(this.#passedOn, this.#cacheLength);
    this.#registerFrom(from, (index) => this.#promptKeys[index]);
  }

  /** What the head does with a batch that takes the cache to `length` tokens: nothing until the prompt is complete, nothing twice. */
  headAt(length: number): HeadRequest {
    const { promptTokens, sampling } = this.request;
    if (length < promptTokens || length <= this.#passedOn) return { kind: 'none' };
    const mask = this.constraint?.mask ?? null;
    const adjustments =
      mask === null ? this.history?.adjustmentsAt(length) : this.history?.adjustmentsWithin(mask, length);
    return {
      kind: 'sample',
      params: sampling,
      ...(adjustments?.length && { adjustments }),
      ...(mask !== null && { mask }),
    };
  }

  /** Counts a token that the head sampled. */
  count(position: number, tokenId: number): void {
    this.history?.add(position, tokenId);
    const { promptTokens, maxTokens, stopTokenIds } = this.request;
    const isLast = stopTokenIds.includes(tokenId) || position + 1 >= promptTokens + maxTokens;
    if (!isLast) this.constraint?.accept(tokenId);
  }

  /**
   * Gives up everything. Idempotent.
   * @param blockHashes of the full blocks of prompt and answer: those that are in the cache can be found from now on.
   * Where they contradict what the request was opened with, none of them is believed.
   * @param keepScope under what they are found then.
   */
  end(blockHashes: readonly string[] = [], keepScope: string = this.cacheScope): void {
    if (this.#stand === 'over') return;
    this.constraint?.dispose();
    const agrees = this.request.blockHashes.every((hash, index) => (blockHashes[index] ?? hash) === hash);
    const keys = agrees ? keysOf(keepScope, blockHashes) : [];
    if (keys.length > 0) this.#takeBack();
    this.#registerFrom(0, (index) => keys[index]);
    if (this.isPrivate) this.#blocks.forget([...this.#promptKeys, ...keysOf(this.cacheScope, blockHashes)]);
    if (this.#stand === 'waiting') this.#blocks.forget(this.#lostKeys().filter((key) => this.#isOwnKey(key)));
    this.#blocks.close(this.#table);
    this.#log = new InputLog(0);
    this.#stand = 'over';
  }

  /** What preemption took of it, as far as nobody needed the room. */
  #takeBack(): void {
    if (this.#stand !== 'waiting') return;
    this.#blocks.attach(this.#table, this.#lostKeys());
    this.#cacheLength = this.#table.blocks.length * BLOCK_TOKENS;
  }

  #begin(position: number): void {
    this.#pinnedBlocks = position / BLOCK_TOKENS;
    this.#blocks.cut(this.#table, this.#pinnedBlocks);
    this.#cacheLength = position;
    this.#passedOn = position;
    this.#log = new InputLog(position);
    this.#stand = 'waiting';
  }

  /** Tokens in the cache, or those that will be after admission. */
  get #admittedLength(): number {
    if (this.#stand !== 'waiting') return this.#cacheLength;
    return this.#cacheLength + this.#blocks.find(this.#lostKeys()) * BLOCK_TOKENS;
  }

  /** No batch spans the end of the prompt, where sampling starts, and none mixes rows that were passed on with new ones. */
  #pendingRows(cacheLength: number): number {
    // What is lost is computed again only where something new follows: others may need the room more until then.
    if (this.#stand === 'opened' || this.#stand === 'over' || this.#log.end <= this.#passedOn) return 0;
    if (this.constraint?.isReady === false) return 0;
    const { promptTokens } = this.request;
    if (cacheLength < this.#passedOn) return this.#passedOn - cacheLength;
    const end = cacheLength < promptTokens ? Math.min(promptTokens, this.#log.end) : this.#log.end;
    return end - cacheLength;
  }

  #writesShared(): boolean {
    const first = this.#cacheLength;
    const hasRoom = first < this.#table.blocks.length * BLOCK_TOKENS;
    return hasRoom && this.#blocks.blocksNeeded(this.#table, first, first + 1) > 0;
  }

  /** Names the full blocks in the cache from `first` on, as far as they have a name. */
  #registerFrom(first: number, keyAt: (index: number) => string | undefined): void {
    if (this.#stand === 'over') return;
    const fullBlocks = Math.floor(this.#cacheLength / BLOCK_TOKENS);
    for (let index = first; index < fullBlocks; index += 1) {
      const key = keyAt(index);
      if (key !== undefined) this.#blocks.register(this.#table, index, key);
    }
  }

  /** Keys by which the blocks that preemption may take are found again, in order. */
  #lostKeys(): string[] {
    const end = Math.floor(this.#passedOn / BLOCK_TOKENS);
    const count = Math.max(0, end - this.#pinnedBlocks);
    return Array.from({ length: count }, (_, offset) => this.#resumeKey(this.#pinnedBlocks + offset));
  }

  #resumeKey(index: number): string {
    return this.#promptKeys[index] ?? `${this.#ownPrefix}${index}`;
  }

  /** The answer's blocks have no hash before the request is closed: until then only this sequence finds them. */
  get #ownPrefix(): string {
    return `sequence ${this.age}:`;
  }

  #isOwnKey(key: string): boolean {
    return key.startsWith(this.#ownPrefix);
  }
}

/** Everybody finds only what requests of their own left: who could find others' could tell what they asked. */
function keysOf(cacheScope: string, blockHashes: readonly string[]): string[] {
  return blockHashes.map((hash) => `${cacheScope}:${hash}`);
}

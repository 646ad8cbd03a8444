import { SkeinError } from '../../src/protocol/errors.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import type { Hop } from '../../src/protocol/route.ts';
import type { ModelCard, StageReport } from '../../src/protocol/signaling.ts';
import { stageCacheTokens } from '../../src/protocol/slice-bytes.ts';
import type { Assignment, LayerRange } from '../../signaling/scheduler/types.ts';
import type { Device } from './device.ts';
import type { EventQueue } from './event-queue.ts';
import type { Meter } from './meter.ts';
import type { Endpoint } from './network.ts';
import { planStep } from './plan-step.ts';
import type { PlannedRows } from './plan-step.ts';
import type { PolicyTraits } from './policy.ts';
import { stepSeconds } from './roofline.ts';
import type { StepWork } from './roofline.ts';
import type { Run } from './run.ts';
import { BLOCK_TOKENS, blocksOf, pendingRows } from './stage-sequence.ts';
import type { StageSequence } from './stage-sequence.ts';

/** How weights get onto a device. */
export interface LoadRates {
  readonly downloadBytesPerSecond: number;
  /** Of weights that the device has had before. */
  readonly diskBytesPerSecond: number;
  /** Kernels, buffers, and the first step. */
  readonly startSeconds: number;
}

/** What a peer needs of the world around it. */
export interface PeerWorld {
  readonly queue: EventQueue;
  readonly card: ModelCard;
  readonly traits: PolicyTraits;
  readonly meter: Meter;
  onServing(peer: SimulatedPeer, slice: LayerRange): void;
  /** A step ended; rows that were not sent before leave for the next hop. */
  onRows(peer: SimulatedPeer, outputs: readonly PlannedRows[]): void;
  /** These cannot go on here. */
  onFailed(peer: SimulatedPeer, runs: readonly Run[]): void;
}

/** A slice as it is held: loading, or answering. */
interface HeldSlice extends LayerRange {
  readonly isLoaded: boolean;
  /** Room for keys and values, in tokens of one layer. */
  readonly capacityTokenLayers: number;
}

/** A device with a slice of the model: it loads, batches, computes by the roofline, and keeps within its memory. */
export class SimulatedPeer {
  readonly weightsOnDisk = new Set<number>();
  /** The latest first. */
  readonly heldBefore: Assignment[] = [];
  /** Above 1 while something slows it down. */
  slowness = 1;
  isAlive = true;
  goneAt = Infinity;
  /** When whoever sends it frames knows that it is gone. */
  noticedAt = Infinity;
  /** Inside the window that is measured. */
  busySeconds = 0;
  /** Most that the caches held at once, as a share of their room. */
  peakCacheShare = 0;
  /** In advance, in tokens of one layer. */
  reservedTokenLayers = 0;
  /** How often it was given a slice, or had one taken. */
  loads = 0;
  /** In order of turn: whoever was served last is last. */
  readonly #sequences = new Map<Run, StageSequence>();
  #slice: HeldSlice | null = null;
  #usedTokenLayers = 0;
  #isComputing = false;
  #loading: { readonly range: LayerRange; readonly startedAt: number; readonly seconds: number } | null =
    null;
  #sinceReport = { steps: 0, rows: 0, busySeconds: 0, at: 0 };

  constructor(
    readonly id: PeerId,
    readonly device: Device,
    readonly endpoint: Endpoint,
    readonly loadRates: LoadRates,
    readonly joinedAt: number,
    private readonly world: PeerWorld,
  ) {}

  get slice(): LayerRange | null {
    return this.#slice;
  }

  get isServing(): boolean {
    return this.#slice?.isLoaded === true;
  }

  get activeSequences(): number {
    return this.#sequences.size;
  }

  /** Whether it opens another request. */
  get hasOpening(): boolean {
    return this.#sequences.size < this.world.traits.maxOpenRequests;
  }

  get capacityTokenLayers(): number {
    return this.#slice?.capacityTokenLayers ?? 0;
  }

  holds(range: LayerRange): boolean {
    const slice = this.#slice;
    return (
      this.isAlive &&
      slice?.isLoaded === true &&
      slice.layerStart <= range.layerStart &&
      range.layerEnd <= slice.layerEnd
    );
  }

  /** @throws SkeinError `bad-argument` when the weights do not fit. */
  load(range: LayerRange | null): void {
    const lost = [...this.#sequences.keys()];
    this.loads += 1;
    this.#keepDownloads();
    this.#clear();
    this.#slice = range === null ? null : this.#emptySlice(range);
    const slice = this.#slice;
    if (slice !== null && range !== null) {
      const seconds = this.#loadSeconds(range);
      this.#loading = { range, startedAt: this.world.queue.nowSeconds, seconds };
      this.world.queue.after(seconds, () => {
        if (!this.isAlive || this.#slice !== slice) return;
        this.#slice = { ...slice, isLoaded: true };
        this.#loading = null;
        this.#remember(range);
        this.world.onServing(this, range);
      });
    }
    if (lost.length > 0) this.world.onFailed(this, lost);
  }

  /** @param noticeSeconds until its requests notice. */
  die(noticeSeconds: number): void {
    this.isAlive = false;
    this.goneAt = this.world.queue.nowSeconds;
    this.noticedAt = this.goneAt + noticeSeconds;
    this.loads += 1;
    this.#clear();
    this.#slice = null;
  }

  sequence(run: Run): StageSequence | undefined {
    return this.#sequences.get(run);
  }

  /** Of a run that gets here for the first time; nothing is known of it yet. */
  open(run: Run, hop: Hop, hopIndex: number): StageSequence {
    const sequence: StageSequence = {
      run,
      hop,
      hopIndex,
      layers: hop.layerEnd - hop.layerStart,
      knownRows: 0,
      cachedRows: 0,
      emittedRows: 0,
      blocks: 0,
      isResident: this.world.traits.cacheUse === 'in-advance',
      waitedSteps: 0,
      waitsSince: this.world.queue.nowSeconds,
    };
    this.#sequences.set(run, sequence);
    return sequence;
  }

  /** Goes on with the cache of another run of the same request, up to a row. */
  adopt(from: StageSequence, run: Run, hopIndex: number, rows: number): void {
    const sequence: StageSequence = {
      ...from,
      run,
      hopIndex,
      knownRows: rows,
      cachedRows: Math.min(rows, from.cachedRows),
      emittedRows: rows,
    };
    this.#sequences.delete(from.run);
    this.#sequences.set(run, sequence);
    if (pendingRows(sequence) > 0) this.#startStep();
  }

  addRows(sequence: StageSequence, rows: number): void {
    if (pendingRows(sequence) === 0) sequence.waitsSince = this.world.queue.nowSeconds;
    sequence.knownRows += rows;
    this.#startStep();
  }

  close(run: Run): void {
    const sequence = this.#sequences.get(run);
    if (sequence === undefined) return;
    this.#release(sequence);
    this.#sequences.delete(run);
    if (!this.#isComputing) this.#startStep();
  }

  /** What it did since it was asked the last time; null while it serves nothing. */
  takeReport(): StageReport | null {
    const now = this.world.queue.nowSeconds;
    const { steps, rows, busySeconds, at } = this.#sinceReport;
    this.#sinceReport = { steps: 0, rows: 0, busySeconds: 0, at: now };
    const slice = this.#slice;
    if (slice === null || !slice.isLoaded || now <= at) return null;
    const layers = slice.layerEnd - slice.layerStart;
    const taken = Math.max(this.#usedTokenLayers, this.reservedTokenLayers);
    return {
      model: this.world.card.id,
      layerStart: slice.layerStart,
      layerEnd: slice.layerEnd,
      steps,
      rows,
      busySeconds,
      seconds: now - at,
      activeSequences: this.#sequences.size,
      freeCacheTokens: Math.floor((slice.capacityTokenLayers - taken) / layers),
      cacheTokens: Math.floor(slice.capacityTokenLayers / layers),
    };
  }

  #emptySlice(range: LayerRange): HeldSlice {
    const { card, traits } = this.world;
    const weightBytes = sliceWeightBytes(card, range);
    const freeBytes = this.device.memoryBytes - weightBytes;
    if (freeBytes < 0 || range.layerStart < 0 || range.layerEnd > card.layerCount) {
      const layers = `[${range.layerStart}, ${range.layerEnd})`;
      const sizes = `${weightBytes} bytes into ${this.device.memoryBytes}`;
      throw new SkeinError('bad-argument', `Layers ${layers} of ${card.id} do not fit a peer: ${sizes}.`);
    }
    const { cacheRoom } = traits;
    const capacityTokenLayers =
      cacheRoom === 'stage'
        ? stageCacheTokens(card, this.device.memoryBytes, range) * (range.layerEnd - range.layerStart)
        : Math.floor((freeBytes * cacheRoom.share) / card.cacheBytesPerTokenPerLayer);
    return { ...range, isLoaded: false, capacityTokenLayers };
  }

  #loadSeconds(range: LayerRange): number {
    const { downloadBytesPerSecond, diskBytesPerSecond, startSeconds } = this.loadRates;
    const { card } = this.world;
    let layersOnDisk = 0;
    for (let layer = range.layerStart; layer < range.layerEnd; layer++) {
      if (this.weightsOnDisk.has(layer)) layersOnDisk += 1;
    }
    const totalBytes = sliceWeightBytes(card, range);
    const isWhollyKnown = layersOnDisk === range.layerEnd - range.layerStart;
    // Embedding and head come with the layer beside them.
    const diskBytes = isWhollyKnown ? totalBytes : layersOnDisk * card.bytesPerLayer;
    return startSeconds + diskBytes / diskBytesPerSecond + (totalBytes - diskBytes) / downloadBytesPerSecond;
  }

  /** Of a load that is given up, the layers that had come stay on disk. */
  #keepDownloads(): void {
    if (this.#loading === null) return;
    const { range, startedAt, seconds } = this.#loading;
    const share = (this.world.queue.nowSeconds - startedAt) / seconds;
    const layers = Math.floor(share * (range.layerEnd - range.layerStart));
    for (let layer = range.layerStart; layer < range.layerStart + layers; layer++) {
      this.weightsOnDisk.add(layer);
    }
    this.#loading = null;
  }

  #remember({ layerStart, layerEnd }: LayerRange): void {
    for (let layer = layerStart; layer < layerEnd; layer++) this.weightsOnDisk.add(layer);
    this.heldBefore.unshift({ model: this.world.card.id, layerStart, layerEnd });
  }

  #clear(): void {
    this.#sequences.clear();
    this.#usedTokenLayers = 0;
    this.reservedTokenLayers = 0;
  }

  #release(sequence: StageSequence): void {
    this.#usedTokenLayers -= sequence.blocks * BLOCK_TOKENS * sequence.layers;
    sequence.blocks = 0;
  }

  #startStep(): void {
    const slice = this.#slice;
    if (this.#isComputing || slice?.isLoaded !== true || !this.isAlive) return;
    const { traits, queue, meter } = this.world;
    const grows = traits.cacheUse === 'as-it-grows';
    const free = grows ? slice.capacityTokenLayers - this.#usedTokenLayers : null;
    const sequences = [...this.#sequences.values()];
    const plan = planStep(sequences, traits.batching, free);
    for (const sequence of plan.preempted) this.#preempt(sequence);
    if (plan.rows.length > 0) {
      for (const sequence of sequences) if (pendingRows(sequence) > 0) sequence.waitedSteps += 1;
      for (const { sequence, rows } of plan.rows) this.#take(sequence, rows);
      const seconds = this.#stepSeconds(plan.rows);
      const startedAt = queue.nowSeconds;
      this.#isComputing = true;
      queue.after(seconds, () => this.#endStep(plan.rows, startedAt));
      if (meter.isOpen(startedAt)) meter.steps += 1;
    }
    if (plan.hopeless.length > 0) {
      this.world.onFailed(
        this,
        plan.hopeless.map(({ run }) => run),
      );
    }
  }

  #endStep(planned: readonly PlannedRows[], startedAt: number): void {
    this.#isComputing = false;
    const { queue, meter } = this.world;
    const now = queue.nowSeconds;
    this.busySeconds += meter.overlap(startedAt, now);
    const outputs: PlannedRows[] = [];
    let rowCount = 0;
    for (const { sequence, rows } of planned) {
      rowCount += rows;
      if (this.#sequences.get(sequence.run) !== sequence || !sequence.isResident) continue;
      sequence.cachedRows += rows;
      sequence.waitsSince = now;
      // Served last, so its next turn is after everybody else's.
      this.#sequences.delete(sequence.run);
      this.#sequences.set(sequence.run, sequence);
      const fresh = sequence.cachedRows - sequence.emittedRows;
      if (meter.isOpen(now)) meter.rowsAgain += rows - Math.max(0, Math.min(rows, fresh));
      if (fresh <= 0) continue;
      sequence.emittedRows = sequence.cachedRows;
      outputs.push({ sequence, rows: fresh });
    }
    if (meter.isOpen(now)) meter.rows += rowCount;
    const since = this.#sinceReport;
    since.steps += 1;
    since.rows += rowCount;
    since.busySeconds += now - startedAt;
    if (outputs.length > 0) this.world.onRows(this, outputs);
    this.#startStep();
  }

  #preempt(sequence: StageSequence): void {
    this.#release(sequence);
    sequence.cachedRows = 0;
    sequence.isResident = false;
    if (this.world.meter.isOpen(this.world.queue.nowSeconds)) this.world.meter.preemptions += 1;
  }

  /** @throws SkeinError `internal` when a plan took more room than there is: a mistake of this simulator. */
  #take(sequence: StageSequence, rows: number): void {
    sequence.isResident = true;
    sequence.waitedSteps = 0;
    if (this.world.traits.cacheUse === 'in-advance') return;
    const blocks = Math.max(sequence.blocks, blocksOf(sequence.cachedRows + rows));
    this.#usedTokenLayers += (blocks - sequence.blocks) * BLOCK_TOKENS * sequence.layers;
    sequence.blocks = blocks;
    this.checkRoom(this.#usedTokenLayers);
  }

  checkRoom(tokenLayers: number): void {
    const share = this.capacityTokenLayers === 0 ? 0 : tokenLayers / this.capacityTokenLayers;
    this.peakCacheShare = Math.max(this.peakCacheShare, share);
    if (tokenLayers > this.capacityTokenLayers) {
      const sizes = `${tokenLayers} of ${this.capacityTokenLayers} tokens of a layer`;
      throw new SkeinError('internal', `A simulated cache is above its room: ${sizes}.`);
    }
  }

  #stepSeconds(planned: readonly PlannedRows[]): number {
    const { card } = this.world;
    let layerStart = card.layerCount;
    let layerEnd = 0;
    const work = { layers: 0, rowLayers: 0, headRows: 0, cacheTokenLayers: 0, attendedPairLayers: 0 };
    for (const { sequence, rows } of planned) {
      const { hop, layers, cachedRows, run } = sequence;
      layerStart = Math.min(layerStart, hop.layerStart);
      layerEnd = Math.max(layerEnd, hop.layerEnd);
      work.rowLayers += rows * layers;
      work.cacheTokenLayers += (cachedRows + rows) * layers;
      work.attendedPairLayers += rows * (cachedRows + rows / 2) * layers;
      const givesToken = cachedRows + rows >= Math.max(run.promptRows, sequence.emittedRows + 1);
      if (hop.layerEnd === card.layerCount && givesToken) work.headRows += 1;
    }
    const stepWork: StepWork = { ...work, layers: layerEnd - layerStart };
    return stepSeconds(card, this.device, stepWork) * this.slowness;
  }
}

/** Bytes of weights that a slice takes: its layers, and the embedding or the head that come with its place. */
export function sliceWeightBytes(card: ModelCard, { layerStart, layerEnd }: LayerRange): number {
  const embedding = layerStart === 0 ? card.embeddingBytes : 0;
  const head = layerEnd === card.layerCount ? card.headBytes : 0;
  return (layerEnd - layerStart) * card.bytesPerLayer + embedding + head;
}

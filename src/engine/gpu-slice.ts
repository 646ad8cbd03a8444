import { hasEmbedding, hasHead } from '../model/architecture.ts';
import type { Architecture, SliceRange } from '../model/architecture.ts';
import type { Checkpoint } from '../model/checkpoint.ts';
import { ropeInverseFrequencies } from '../model/rope.ts';
import { sliceTensors } from '../model/tensor-names.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { Activations } from '../protocol/activations.ts';
import { GREEDY, sampling } from '../protocol/sampling.ts';
import { BLOCK_TOKENS } from './batch.ts';
import type { BatchResult, BlockCopy, HeadRequest, RaggedBatch, SequenceResult, Slice } from './batch.ts';
import { buildBatchTables } from './batch-tables.ts';
import type { BatchLimits, BatchTables } from './batch-tables.ts';
import type { EngineDevice } from './device.ts';
import { DeviceFaults } from './device-faults.ts';
import { GpuMemory } from './gpu-memory.ts';
import { CountingPass, KernelCompiler } from './kernel.ts';
import { KernelList } from './kernel-list.ts';
import { KvCache } from './kv-cache.ts';
import { takesInt8 } from './weight-format.ts';
import type { CacheFormat } from './kernels/attention-shape.ts';
import { ropeTable } from './kernels/rope-append.ts';
import { ADJUSTMENT_WORDS, decodeSampled } from './kernels/sample-rows.ts';
import type { SampledToken } from './kernels/sample-rows.ts';
import type { StepProfiler } from './profiler.ts';
import { ReadBack } from './read-back.ts';
import { Sampler } from './sampler.ts';
import { allocateHeadBuffers, allocateSliceBuffers, attentionShape, sliceCapacity } from './slice-buffers.ts';
import type { HeadBuffers, SliceBuffers, SliceCapacity } from './slice-buffers.ts';
import { buildEmbedding, buildHead, buildLayer, loadEmbedding } from './slice-kernels.ts';
import type { SliceParts } from './slice-kernels.ts';
import { WeightLoader } from './slice-weights.ts';
import { encodeStep, PREFILL_MIN_ROWS } from './step.ts';
import type { StepKernel } from './step.ts';
import { checkSupported } from './supported.ts';
import type { Precision } from './weight-format.ts';

/** Runs every sampling kernel. */
const EVERY_SAMPLING = sampling({ temperature: 1, topK: 1, topP: 0.5, topLogProbabilities: 1 });

export interface GpuSliceOptions {
  readonly device: EngineDevice;
  readonly checkpoint: Checkpoint;
  readonly slice: SliceRange;
  readonly precision: Precision;
  /** How the cache stores keys and values; as `precision` says by default. */
  readonly cacheFormat?: CacheFormat;
  /** `int8` for the matrices that take it (`takesInt8`), others are multiplied with f32 as ever. `f32` by default. */
  readonly activations?: Activations;
  /**
   * Tokens the cache holds over all sequences, rounded up to whole blocks. Halved where the device has no room for them, down
   * to MIN_CACHE_TOKENS: fewer requests at once instead of none.
   */
  readonly cacheTokens: number;
  /** Tokens one sequence may have, where that is less than the model's context and the cache. */
  readonly maxSequenceTokens?: number;
  readonly maxBatchRows?: number;
  readonly maxBatchSequences?: number;
  /** The device's own by default; tests bring one that lays kernels out as for another adapter. */
  readonly compiler?: KernelCompiler;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly loadedBytes: number; readonly totalBytes: number }) => void;
}

/** Only the slice with the head has these. */
interface LoadedHead extends HeadBuffers {
  readonly sampler: Sampler;
}

/** A cache of less would hold no conversation worth the weights. */
const MIN_CACHE_TOKENS = 256;

/** What loading leaves behind: everything a pass needs. */
interface LoadedSlice {
  readonly device: EngineDevice;
  readonly limits: BatchLimits;
  readonly memory: GpuMemory;
  readonly buffers: SliceBuffers;
  readonly cache: KvCache;
  readonly head: LoadedHead | null;
  readonly kernels: SliceKernels;
  readonly layerCount: number;
}

/** In order of the pass. */
interface SliceKernels {
  readonly before: readonly StepKernel[];
  readonly layers: readonly StepKernel[];
  readonly after: readonly StepKernel[];
}

/** Layers of a model on a GPU: weights, a pool of cache blocks, and kernels bound to their buffers once. */
export class GpuSlice implements Slice {
  readonly #loaded: LoadedSlice;
  readonly #readBack: ReadBack;
  readonly #faults: DeviceFaults;
  #layerDispatches = 0;
  #isDisposed = false;

  private constructor(loaded: LoadedSlice, faults: DeviceFaults) {
    this.#loaded = loaded;
    this.#readBack = new ReadBack(loaded.memory);
    this.#faults = faults;
  }

  /**
   * The slice's `blockCount` says how much cache there is.
   * @throws SkeinError `model-missing`, `model-corrupt`, `model-unsupported`, `out-of-memory`, `device-lost`, `aborted`; then
   * nothing stays allocated.
   */
  static async load(options: GpuSliceOptions): Promise<GpuSlice> {
    for (let { cacheTokens } = options; ; cacheTokens = Math.ceil(cacheTokens / 2)) {
      try {
        return await GpuSlice.#load({ ...options, cacheTokens });
      } catch (thrown) {
        const error = SkeinError.from(thrown);
        if (error.code !== 'out-of-memory' || cacheTokens / 2 < MIN_CACHE_TOKENS) throw error;
      }
    }
  }

  static async #load(options: GpuSliceOptions): Promise<GpuSlice> {
    const memory = new GpuMemory(options.device.device);
    const faults = new DeviceFaults(options.device);
    try {
      const slice = new GpuSlice(await loadSlice(options, memory), faults);
      await slice.#warmUp();
      return slice;
    } catch (thrown) {
      memory.dispose();
      faults.dispose();
      throw thrown;
    }
  }

  get hiddenSize(): number {
    return this.#loaded.limits.hiddenSize;
  }

  get vocabSize(): number {
    return this.#loaded.limits.vocabSize;
  }

  get hasEmbedding(): boolean {
    return this.#loaded.limits.hasEmbedding;
  }

  get hasHead(): boolean {
    return this.#loaded.limits.hasHead;
  }

  get blockCount(): number {
    return this.#loaded.limits.blockCount;
  }

  get contextLength(): number {
    return this.#loaded.limits.contextLength;
  }

  get maxBatchRows(): number {
    return this.#loaded.limits.maxBatchRows;
  }

  get maxBatchSequences(): number {
    return this.#loaded.limits.maxBatchSequences;
  }

  /** Dispatches that the last pass really made for its layers, per layer. */
  get dispatchesPerLayer(): number {
    return this.#layerDispatches / this.#loaded.layerCount;
  }

  /** Rows that may go through the head in one pass; only batches that want logits can exceed it. */
  get maxHeadRows(): number {
    return this.#loaded.limits.maxHeadRows;
  }

  /** @param profiler times the pass's dispatches, which makes it slower. */
  async forward(batch: RaggedBatch, profiler?: StepProfiler): Promise<BatchResult> {
    const { limits, head, buffers } = this.#loaded;
    if (this.#isDisposed) throw freedError();
    this.#faults.check();
    const tables = buildBatchTables(batch, limits);
    this.#write(batch, tables);
    const { rows, headRows } = tables.step;
    if (head === null) {
      const hiddenBytes = rows * limits.hiddenSize * Float32Array.BYTES_PER_ELEMENT;
      const [hidden] = await this.#run(tables, [[buffers.hidden, hiddenBytes]], profiler);
      const sequences = batch.sequences.map((): SequenceResult => ({ kind: 'none' }));
      return { hiddenStates: new Float32Array(hidden ?? new ArrayBuffer(0)), sequences };
    }
    const wantsLogits = batch.sequences.some((sequence) => sequence.head.kind === 'logits');
    const logitsBytes = wantsLogits ? headRows * limits.vocabSize * Float32Array.BYTES_PER_ELEMENT : 0;
    const [sampled, top, logits] = await this.#run(
      tables,
      [...head.sampler.results, [head.logits, logitsBytes]],
      profiler,
    );
    const tokens = decodeSampled(tables.samples, sampled, top);
    return { hiddenStates: null, sequences: headResults(batch, limits.vocabSize, tokens, logits) };
  }

  copyBlocks(copies: readonly BlockCopy[]): void {
    if (this.#isDisposed) throw freedError();
    this.#faults.check();
    this.#loaded.cache.copyBlocks(copies);
  }

  dispose(): void {
    this.#isDisposed = true;
    this.#faults.dispose();
    this.#loaded.memory.dispose();
  }

  /** Drivers translate kernels when they first run: that belongs to loading, not to somebody's first token. */
  async #warmUp(): Promise<void> {
    const every = {
      kind: 'sample',
      params: EVERY_SAMPLING,
      adjustments: new Uint32Array(ADJUSTMENT_WORDS),
    } as const;
    const greedy = { kind: 'sample', params: GREEDY } as const;
    // Matrix products have kernels for one row, for a few, and for more; so does the head, whose rows are one per sequence.
    const passes: readonly [rowCounts: readonly number[], head: HeadRequest][] = [
      [[1], greedy],
      [[1, 1, 1, 1], greedy],
      [[PREFILL_MIN_ROWS + 1, 1, 1, 1, 1], every],
    ];
    for (const [rowCounts, head] of passes) {
      const fitting = rowCounts
        .slice(0, this.maxBatchSequences)
        .filter((_, index) => index < this.maxBatchRows);
      const [first = 1, ...others] = fitting;
      const counts = [Math.min(first, this.maxBatchRows - others.length), ...others];
      const rows = counts.reduce((sum, count) => sum + count, 0);
      await this.forward({
        sequences: counts.map((rowCount) => ({ rowCount, cacheLength: 0, blockTable: [0], head })),
        input: this.hasEmbedding
          ? { kind: 'tokens', tokenIds: new Uint32Array(rows) }
          : { kind: 'activations', values: new Float32Array(rows * this.hiddenSize) },
      });
    }
  }

  #write({ input }: RaggedBatch, tables: BatchTables): void {
    const { device, buffers, head } = this.#loaded;
    // WebGPU copies the data, from shared memory too.
    const write = (buffer: GPUBuffer, data: ArrayBuffer | ArrayBufferView) => {
      if (data.byteLength > 0) {
        device.device.queue.writeBuffer(buffer, 0, data as GPUAllowSharedBufferSource);
      }
    };
    write(buffers.step, encodeStep(tables.step));
    write(buffers.rowInfo, tables.rowInfo);
    write(buffers.blockTables, tables.blockTables);
    write(buffers.decodeInfo, tables.decodeInfo);
    write(buffers.prefillInfo, tables.prefillInfo);
    write(buffers.headInfo, tables.headInfo);
    head?.sampler.write(tables.samples);
    if (input.kind === 'tokens') write(buffers.tokenIds, input.tokenIds);
    else write(buffers.hidden, input.values);
  }

  /** One pass over all kernels. @returns the wanted leading bytes of each buffer. */
  async #run(
    { step }: BatchTables,
    wanted: readonly (readonly [buffer: GPUBuffer, sizeBytes: number])[],
    profiler: StepProfiler | undefined,
  ): Promise<ArrayBuffer[]> {
    const { device } = this.#loaded.device;
    const encoder = device.createCommandEncoder();
    const pass = profiler?.begin(encoder) ?? encoder.beginComputePass();
    const { before, layers, after } = this.#loaded.kernels;
    for (const kernel of before) kernel.encode(pass, step);
    const counted = new CountingPass(pass);
    for (const kernel of layers) kernel.encode(counted, step);
    this.#layerDispatches = counted.dispatchCount;
    for (const kernel of after) kernel.encode(pass, step);
    pass.end();
    const read = this.#readBack.encode(encoder, wanted);
    device.queue.submit([encoder.finish()]);
    try {
      const bytes = await read();
      this.#faults.check();
      return bytes;
    } catch (thrown) {
      // A lost device rejects what waits for it, and says why only after that, in browsers not even in the same task.
      await Promise.resolve();
      throw this.#faults.fault ?? (this.#isDisposed ? freedError() : unreadError(thrown));
    }
  }
}

function freedError(): SkeinError {
  return new SkeinError('aborted', 'The slice was freed.');
}

/** Nothing but a lost device, or a driver that is not to be trusted, keeps results from being read. */
function unreadError(cause: unknown): SkeinError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new SkeinError(
    'device-lost',
    `The GPU did not give its results, and the slice must be loaded again: ${reason}`,
    { cause },
  );
}

async function loadSlice(options: GpuSliceOptions, memory: GpuMemory): Promise<LoadedSlice> {
  const { device, checkpoint, slice, precision, signal } = options;
  const { architecture } = checkpoint;
  checkSupported(architecture);
  const blockCount = Math.ceil(options.cacheTokens / BLOCK_TOKENS);
  const positions = Math.min(
    architecture.contextLength,
    blockCount * BLOCK_TOKENS,
    options.maxSequenceTokens ?? Infinity,
  );
  const shape = attentionShape(architecture, options.cacheFormat ?? precision, positions);
  const capacity = sliceCapacity(architecture, shape, options);
  const limits: BatchLimits = {
    ...capacity,
    hiddenSize: architecture.hiddenSize,
    vocabSize: architecture.vocabSize,
    hasEmbedding: hasEmbedding(slice),
    hasHead: hasHead(slice, architecture),
    blockCount,
    contextLength: positions,
  };
  // Before the weights: they are read only where the cache has its place.
  const cache = new KvCache(memory, shape, slice.layerEnd - slice.layerStart, blockCount);
  await memory.allocated();
  const buffers = allocateSliceBuffers(memory, architecture, shape, capacity);
  const table = ropeTable(ropeInverseFrequencies(architecture), positions);
  const rope = memory.storage('rope_table', table.byteLength);
  memory.device.queue.writeBuffer(rope, 0, table);
  const compiler = options.compiler ?? KernelCompiler.of(device.device);
  const head = limits.hasHead ? await loadHead(compiler, memory, architecture, capacity) : null;
  await memory.allocated();

  const parts: SliceParts = {
    architecture,
    compiler,
    memory,
    activations: options.activations ?? 'f32',
    weights: new WeightLoader({
      checkpoint,
      memory,
      precision,
      ...(signal && { signal }),
      onBytes: await progressReporter(options),
    }),
    buffers,
    shape,
    rope,
    cache,
  };
  const embedding = limits.hasEmbedding ? await loadEmbedding(parts) : null;
  const before = new KernelList();
  if (embedding !== null) buildEmbedding(parts, embedding, before);
  const layers = new KernelList();
  for (let layer = slice.layerStart; layer < slice.layerEnd; layer++) {
    await buildLayer(parts, layer, slice.layerStart, layers);
  }
  const after = new KernelList();
  if (head !== null) {
    await buildHead(parts, head, embedding, after);
    after.add(Promise.resolve(head.sampler));
  }
  checkInt8(parts);
  const kernels = { before: await before.all(), layers: await layers.all(), after: await after.all() };
  await memory.allocated();
  const layerCount = slice.layerEnd - slice.layerStart;
  return { device, limits, memory, buffers, cache, head, kernels, layerCount };
}

/** @throws SkeinError `bad-argument` where int8 activations were asked for and no matrix of the slice takes them. */
function checkInt8({ activations, weights }: SliceParts): void {
  if (activations === 'f32' || [...weights.formats].some(takesInt8)) return;
  throw new SkeinError(
    'bad-argument',
    'int8 activations need matrices of 4- or 8-bit integer codes in groups of a multiple of 32, and this slice has none. Leave them out.',
    { data: { formats: [...weights.formats].map((format) => JSON.stringify(format)).join(', ') } },
  );
}

async function loadHead(
  compiler: KernelCompiler,
  memory: GpuMemory,
  architecture: Architecture,
  capacity: SliceCapacity,
): Promise<LoadedHead> {
  const { logits } = allocateHeadBuffers(memory, architecture, capacity);
  const shape = { vocabSize: architecture.vocabSize, maxRows: capacity.maxBatchSequences };
  return { logits, sampler: await Sampler.create(compiler, memory, shape, logits) };
}

async function progressReporter({
  checkpoint,
  slice,
  signal,
  onProgress,
}: GpuSliceOptions): Promise<(sizeBytes: number) => void> {
  if (onProgress === undefined) return () => undefined;
  let totalBytes = 0;
  for (const { name } of sliceTensors(checkpoint.architecture, slice)) {
    totalBytes += await checkpoint.sizeBytes(name, signal);
  }
  let loadedBytes = 0;
  onProgress({ loadedBytes, totalBytes });
  return (sizeBytes) => {
    loadedBytes += sizeBytes;
    onProgress({ loadedBytes, totalBytes });
  };
}

function headResults(
  { sequences }: RaggedBatch,
  vocabSize: number,
  sampled: readonly SampledToken[],
  logitsBytes: ArrayBuffer = new ArrayBuffer(0),
): SequenceResult[] {
  const tokens = sampled.values();
  const logits = new Float32Array(logitsBytes);
  let headRow = 0;
  return sequences.map(({ head, rowCount }): SequenceResult => {
    switch (head.kind) {
      case 'none':
        return { kind: 'none' };
      case 'sample': {
        const token = tokens.next();
        if (token.done === true) throw new SkeinError('internal', 'The GPU sampled fewer rows than asked.');
        headRow += 1;
        return { kind: 'token', ...token.value };
      }
      case 'logits': {
        const first = headRow;
        headRow += rowCount;
        return { kind: 'logits', values: logits.subarray(first * vocabSize, headRow * vocabSize) };
      }
    }
  });
}

import { SkeinError } from '../protocol/errors.ts';
import type { GpuMemory } from './gpu-memory.ts';
import { bindKernel, dispatchKernel } from './kernel.ts';
import type { BoundKernel, CompiledKernel, KernelCompiler } from './kernel.ts';
import { checkBytes, checkSize } from './kernels/checks.ts';
import {
  HISTOGRAM_WORDS,
  INVOCATIONS,
  MAX_VOCAB,
  PARTIAL_BYTES,
  SAMPLE_KERNELS,
  SEARCH_ROUNDS,
  SEARCHES_BYTES,
  SOFTWARE_INVOCATIONS,
  SPLIT_TOKENS,
  STATE_BYTES,
} from './kernels/sample.ts';
import {
  ADJUSTMENT_WORDS,
  encodeSampleRows,
  isGreedy,
  maskWords,
  SAMPLE_INFO_BYTES,
  SAMPLED_BYTES,
  TOP_BYTES,
} from './kernels/sample-rows.ts';
import type { SampleRow } from './kernels/sample-rows.ts';
import type { StepKernel, StepShape } from './step.ts';

const WORD_BYTES = 4;
const ADJUSTMENT_BYTES = ADJUSTMENT_WORDS * WORD_BYTES;
/** Adjustments there is room for at first; the buffer grows with the longest conversations. */
const FIRST_ADJUSTMENTS = 1024;
/** Masks there is room for at first, in bytes: none. Most stages never see one. */
const FIRST_MASK_BYTES = 16;
/** The one number in a phase buffer says which walk over the rows a kernel is in; alignment wants 16 bytes. */
const PHASE_BYTES = 16;
const PHASE = { scanned: 0, adjusted: 1, drawn: 2 } as const;
const PHASES = [...SEARCH_ROUNDS.topK, ...SEARCH_ROUNDS.topP];

export interface SamplerShape {
  readonly vocabSize: number;
  /** Rows one pass may sample. */
  readonly maxRows: number;
}

/** What the rows of a pass ask for: a pass runs no kernel that none of them needs. */
interface SampleWork {
  readonly draws: boolean;
  readonly topK: boolean;
  readonly topP: boolean;
  readonly top: boolean;
  /** Of the row with the most. */
  readonly adjustments: number;
  readonly masks: boolean;
}

/** Null for what only vocabularies of several splits need. */
type CompiledSampler = Readonly<
  Record<Exclude<keyof typeof SAMPLE_KERNELS, 'merge'>, CompiledKernel> &
    Record<'merge' | 'topMerge', CompiledKernel | null>
>;

/** Bound to their buffers; a list has one for each phase. */
interface SamplerKernels {
  readonly scan: readonly BoundKernel[];
  readonly merge: readonly BoundKernel[];
  readonly adjust: BoundKernel;
  readonly mask: BoundKernel;
  readonly histogram: readonly BoundKernel[];
  readonly draw: BoundKernel;
  readonly top: BoundKernel;
  readonly topMerge: BoundKernel | null;
}

/**
 * Draws one token per sampled row of a pass, last of its kernels: scan → (adjust → mask → scan) → searches → draw. Greedy rows
 * end with the first scan, which is one dispatch, or two where the vocabulary has several splits. Adjusts and masks logits in place.
 */
export class Sampler implements StepKernel {
  readonly name = 'sample';
  readonly #compiled: CompiledSampler;
  readonly #memory: GpuMemory;
  readonly #shape: SamplerShape;
  readonly #splits: number;
  readonly #invocations: number;
  readonly #buffers: Readonly<Record<string, GPUBuffer>>;
  readonly #phases: readonly GPUBuffer[];
  #adjustments: GPUBuffer;
  #masks: GPUBuffer;
  #kernels: SamplerKernels;
  #rows: readonly SampleRow[] = [];
  #work: SampleWork = workOf([]);

  private constructor(
    compiled: CompiledSampler,
    memory: GpuMemory,
    shape: SamplerShape,
    logits: GPUBuffer,
    invocations: number,
  ) {
    this.#compiled = compiled;
    this.#memory = memory;
    this.#shape = shape;
    this.#splits = splitsOf(shape);
    this.#invocations = invocations;
    const { maxRows } = shape;
    const parts = maxRows * this.#splits;
    this.#buffers = {
      logits,
      sample_info: memory.storage('sample_info', maxRows * SAMPLE_INFO_BYTES),
      sampled: memory.storage('sampled', maxRows * SAMPLED_BYTES),
      partials: memory.storage('sample_partials', parts * PARTIAL_BYTES),
      states: memory.storage('sample_states', maxRows * STATE_BYTES),
      searches: memory.storage('sample_searches', maxRows * SEARCHES_BYTES),
      histograms: memory.storage('sample_histograms', maxRows * HISTOGRAM_WORDS * WORD_BYTES),
      top_partials: memory.storage('top_partials', parts * TOP_BYTES),
      top: memory.storage('top', maxRows * TOP_BYTES),
    };
    this.#phases = PHASES.map((phase) => {
      const buffer = memory.uniform('sample_phase', PHASE_BYTES);
      memory.device.queue.writeBuffer(buffer, 0, Uint32Array.of(phase));
      return buffer;
    });
    this.#adjustments = memory.storage('adjustments', FIRST_ADJUSTMENTS * ADJUSTMENT_BYTES);
    this.#masks = memory.storage('masks', FIRST_MASK_BYTES);
    this.#kernels = this.#bind();
  }

  /**
   * @param logits f32 [head rows, vocab]; owned by the caller, who also disposes of `memory`.
   * @throws SkeinError `bad-argument` for sizes that do not fit.
   */
  static async create(
    compiler: KernelCompiler,
    memory: GpuMemory,
    shape: SamplerShape,
    logits: GPUBuffer,
  ): Promise<Sampler> {
    checkSize('sample', 'vocabSize', shape.vocabSize, { max: MAX_VOCAB });
    checkSize('sample', 'maxRows', shape.maxRows);
    const overrides = {
      vocab: shape.vocabSize,
      invocations: compiler.tuning.isSoftware ? SOFTWARE_INVOCATIONS : INVOCATIONS,
      splits: splitsOf(shape),
      split_tokens: SPLIT_TOKENS,
    };
    const isSplit = overrides.splits > 1;
    const [scan, merge, adjust, mask, histogram, draw, top, topMerge] = await Promise.all([
      compiler.compile(SAMPLE_KERNELS.scan, { ...overrides, histogram_words: HISTOGRAM_WORDS }),
      isSplit ? compiler.compile(SAMPLE_KERNELS.merge, overrides) : null,
      compiler.compile(SAMPLE_KERNELS.adjust, overrides),
      compiler.compile(SAMPLE_KERNELS.mask, overrides),
      compiler.compile(SAMPLE_KERNELS.histogram, { ...overrides, rounds: isSplit ? 1 : PHASES.length }),
      compiler.compile(SAMPLE_KERNELS.draw, overrides),
      compiler.compile(SAMPLE_KERNELS.top, { ...overrides, is_merging: 0 }),
      isSplit ? compiler.compile(SAMPLE_KERNELS.top, { ...overrides, is_merging: 1 }) : null,
    ]);
    return new Sampler(
      { scan, merge, adjust, mask, histogram, draw, top, topMerge },
      memory,
      shape,
      logits,
      overrides.invocations,
    );
  }

  /**
   * Uploads what the next pass samples.
   * @throws SkeinError `bad-argument` for more rows than there is room for, for changed logits that two rows read, and for masks of
   * another vocabulary.
   */
  write(rows: readonly SampleRow[]): void {
    checkSize(this.name, 'rows', rows.length, { min: 0, max: this.#shape.maxRows });
    checkOwnLogits(rows);
    const masks = rows.flatMap(({ mask }) => (mask === undefined ? [] : [mask]));
    this.#checkMasks(masks);
    this.#rows = rows;
    this.#work = workOf(rows);
    const adjustments = rows.flatMap((row) => (row.adjustments === undefined ? [] : [row.adjustments]));
    const adjustmentsBytes = adjustments.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (adjustmentsBytes > this.#adjustments.size) this.#growAdjustments(adjustmentsBytes);
    this.#write('sample_info', encodeSampleRows(rows));
    let offset = 0;
    for (const words of adjustments) {
      this.#memory.device.queue.writeBuffer(this.#adjustments, offset, words);
      offset += words.byteLength;
    }
    this.#writeMasks(masks);
  }

  encode(pass: GPUComputePassEncoder, step: StepShape): void {
    const rows = this.#rows.length;
    if (rows !== step.sampleRows) {
      throw new SkeinError(
        'bad-argument',
        `A step samples ${step.sampleRows} rows, and ${rows} were written.`,
      );
    }
    if (rows === 0) return;
    const headRows = Math.max(step.headRows, ...this.#rows.map(({ headRow }) => headRow + 1));
    checkBytes(this.name, 'logits', this.#buffer('logits'), headRows * this.#shape.vocabSize * WORD_BYTES);
    const { scan, adjust, mask, histogram, draw, top, topMerge } = this.#kernels;
    const { draws, topK, topP, adjustments, masks, top: wantsTop } = this.#work;
    const splits = this.#splits;
    const grid = [splits, rows] as const;

    this.#dispatch(pass, scan[PHASE.scanned], grid);
    this.#merge(pass, PHASE.scanned);
    if (wantsTop) {
      this.#dispatch(pass, top, grid);
      if (topMerge !== null) this.#dispatch(pass, topMerge, [1, rows]);
    }
    if (adjustments > 0) {
      this.#dispatch(pass, adjust, [Math.ceil(adjustments / this.#invocations), rows]);
    }
    if (masks) {
      this.#dispatch(pass, mask, [Math.ceil(this.#shape.vocabSize / this.#invocations), rows]);
    }
    if (adjustments > 0 || masks) {
      this.#dispatch(pass, scan[PHASE.adjusted], grid);
      this.#merge(pass, PHASE.adjusted);
    }
    if (splits === 1 && (topK || topP)) this.#dispatch(pass, histogram[0], grid);
    else {
      if (topK) for (const round of SEARCH_ROUNDS.topK) this.#dispatch(pass, histogram[round], grid);
      if (topP) for (const round of SEARCH_ROUNDS.topP) this.#dispatch(pass, histogram[round], grid);
    }
    if (draws) {
      this.#dispatch(pass, draw, grid);
      this.#merge(pass, PHASE.drawn);
    }
  }

  /** What to read back of the rows last written, for `decodeSampled`: 8 bytes a row, and more only if any asked for log-probabilities. */
  get results(): readonly [sampled: readonly [GPUBuffer, number], top: readonly [GPUBuffer, number]] {
    const rows = this.#rows.length;
    return [
      [this.#buffer('sampled'), rows * SAMPLED_BYTES],
      [this.#buffer('top'), this.#work.top ? rows * TOP_BYTES : 0],
    ];
  }

  #merge(pass: GPUComputePassEncoder, phase: number): void {
    const { merge } = this.#kernels;
    if (merge.length > 0) this.#dispatch(pass, merge[phase], [this.#rows.length]);
  }

  #dispatch(
    pass: GPUComputePassEncoder,
    kernel: BoundKernel | undefined,
    grid: readonly [x: number, y?: number],
  ): void {
    if (kernel === undefined) throw new SkeinError('internal', 'A sampling kernel is missing.');
    dispatchKernel(pass, kernel, grid);
  }

  #write(name: string, data: ArrayBuffer): void {
    if (data.byteLength > 0) this.#memory.device.queue.writeBuffer(this.#buffer(name), 0, data);
  }

  #growAdjustments(sizeBytes: number): void {
    const { size } = this.#adjustments;
    this.#adjustments.destroy();
    this.#adjustments = this.#memory.storage('adjustments', Math.max(sizeBytes, 2 * size));
    this.#kernels = this.#bind();
  }

  #checkMasks(masks: readonly Uint32Array[]): void {
    const words = maskWords(this.#shape.vocabSize);
    for (const { length } of masks)
      checkSize(this.name, 'words of a mask', length, { min: words, max: words });
  }

  #writeMasks(masks: readonly Uint32Array<ArrayBuffer>[]): void {
    const maskBytes = maskWords(this.#shape.vocabSize) * WORD_BYTES;
    if (masks.length * maskBytes > this.#masks.size) {
      this.#masks.destroy();
      this.#masks = this.#memory.storage('masks', this.#shape.maxRows * maskBytes);
      this.#kernels = this.#bind();
    }
    masks.forEach((mask, index) => {
      this.#memory.device.queue.writeBuffer(this.#masks, index * maskBytes, mask);
    });
  }

  #buffer(name: string): GPUBuffer {
    const growing: Readonly<Record<string, GPUBuffer>> = {
      adjustments: this.#adjustments,
      masks: this.#masks,
    };
    const buffer = growing[name] ?? this.#buffers[name];
    if (buffer === undefined) throw new SkeinError('internal', `A sampler has no buffer ${name}.`);
    return buffer;
  }

  #bind(): SamplerKernels {
    const bind = (kernel: CompiledKernel, phase?: GPUBuffer) => {
      const buffers = Object.keys(kernel.source.bindings).map((binding): [string, GPUBuffer] => [
        binding,
        binding === 'phase' && phase !== undefined ? phase : this.#buffer(binding),
      ]);
      return bindKernel(this.#memory.device, kernel, Object.fromEntries(buffers));
    };
    const inPhases = (kernel: CompiledKernel) => this.#phases.map((phase) => bind(kernel, phase));
    const { scan, merge, adjust, mask, histogram, draw, top, topMerge } = this.#compiled;
    return {
      scan: inPhases(scan),
      merge: merge === null ? [] : inPhases(merge),
      adjust: bind(adjust),
      mask: bind(mask),
      histogram: inPhases(histogram),
      draw: bind(draw),
      top: bind(top),
      topMerge: topMerge && bind(topMerge),
    };
  }
}

function splitsOf({ vocabSize }: SamplerShape): number {
  return Math.ceil(vocabSize / SPLIT_TOKENS);
}

function workOf(rows: readonly SampleRow[]): SampleWork {
  const drawn = rows.filter(({ params }) => !isGreedy(params));
  return {
    draws: drawn.length > 0,
    topK: drawn.some(({ params }) => params.topK > 0),
    topP: drawn.some(({ params }) => params.topP < 1),
    top: rows.some(({ params }) => params.topLogProbabilities > 0),
    adjustments: Math.max(0, ...rows.map(({ adjustments }) => (adjustments?.length ?? 0) / ADJUSTMENT_WORDS)),
    masks: rows.some(({ mask }) => mask !== undefined),
  };
}

/** Logits are changed in place, so they must be nobody else's. */
function checkOwnLogits(rows: readonly SampleRow[]): void {
  const changed = new Set(
    rows
      .filter(({ adjustments, mask }) => (adjustments?.length ?? 0) > 0 || mask !== undefined)
      .map(({ headRow }) => headRow),
  );
  if (changed.size === 0) return;
  const seen = new Set<number>();
  for (const { headRow } of rows) {
    if (seen.has(headRow) && changed.has(headRow)) {
      throw new SkeinError(
        'bad-argument',
        `Logits of row ${headRow} are changed, and two samples read them.`,
      );
    }
    seen.add(headRow);
  }
}

import adjustCode from '../../../shaders/sample_adjust.wgsl?raw';
import drawCode from '../../../shaders/sample_draw.wgsl?raw';
import histogramCode from '../../../shaders/sample_histogram.wgsl?raw';
import maskCode from '../../../shaders/sample_mask.wgsl?raw';
import mergeCode from '../../../shaders/sample_merge.wgsl?raw';
import resultCode from '../../../shaders/sample_result.wgsl?raw';
import rowCode from '../../../shaders/sample_row.wgsl?raw';
import scanCode from '../../../shaders/sample_scan.wgsl?raw';
import searchCode from '../../../shaders/sample_search.wgsl?raw';
import topCode from '../../../shaders/sample_top.wgsl?raw';
import type { KernelSource } from '../kernel.ts';

/** The kernels of a sampler; the headers of their shaders say what they do, and sampler.ts in which order. */
export const SAMPLE_KERNELS = {
  scan: {
    name: 'sample_scan',
    code: rowCode + resultCode + scanCode,
    bindings: {
      logits: 'read',
      sample_info: 'read',
      adjustments: 'read',
      phase: 'uniform',
      partials: 'read-write',
      states: 'read-write',
      sampled: 'read-write',
      histograms: 'read-write',
    },
  },
  merge: {
    name: 'sample_merge',
    code: rowCode + resultCode + mergeCode,
    bindings: {
      logits: 'read',
      sample_info: 'read',
      adjustments: 'read',
      phase: 'uniform',
      partials: 'read',
      states: 'read-write',
      sampled: 'read-write',
    },
  },
  adjust: {
    name: 'sample_adjust',
    code: rowCode + adjustCode,
    bindings: { sample_info: 'read', adjustments: 'read-write', logits: 'read-write' },
  },
  mask: {
    name: 'sample_mask',
    code: rowCode + maskCode,
    bindings: { sample_info: 'read', masks: 'read', logits: 'read-write' },
  },
  histogram: {
    name: 'sample_histogram',
    code: rowCode + searchCode + histogramCode,
    bindings: {
      logits: 'read',
      sample_info: 'read',
      phase: 'uniform',
      states: 'read',
      searches: 'read-write',
      histograms: 'read-write',
    },
  },
  draw: {
    name: 'sample_draw',
    code: rowCode + searchCode + resultCode + drawCode,
    bindings: {
      logits: 'read',
      sample_info: 'read',
      adjustments: 'read',
      states: 'read-write',
      searches: 'read',
      histograms: 'read-write',
      partials: 'read-write',
      sampled: 'read-write',
    },
  },
  top: {
    name: 'sample_top',
    code: rowCode + topCode,
    bindings: {
      logits: 'read',
      sample_info: 'read',
      states: 'read',
      top_partials: 'read-write',
      top: 'read-write',
    },
  },
} as const satisfies Readonly<Record<string, KernelSource>>;

/** Token weights of top-p are 31-bit fixed point and counts of top-k exact in f32: room for far more than any tokenizer has. */
export const MAX_VOCAB = 1 << 20;
/** Invocations of a workgroup: as many as every adapter has, but where a CPU plays the GPU, and barriers cost more than longer walks. */
export const INVOCATIONS = 256;
export const SOFTWARE_INVOCATIONS = 64;
/** Tokens of a split, which is one workgroup's work: enough that histograms cost less than the walk. */
export const SPLIT_TOKENS = 8192;

/** Rounds of the search for a threshold: four digits of a key, for top-k and for top-p. */
export const SEARCH_ROUNDS = { topK: [0, 1, 2, 3], topP: [4, 5, 6, 7] } as const;
const ROUND_COUNT = SEARCH_ROUNDS.topK.length + SEARCH_ROUNDS.topP.length;
const DIGITS = 256;
/** u32 of the histograms of one row: two for each digit of each round. */
export const HISTOGRAM_WORDS = ROUND_COUNT * DIGITS * 2;
/** Bytes of the searches of one row: five words each. */
export const SEARCHES_BYTES = ROUND_COUNT * 5 * 4;
/** Bytes of what is known of one row. */
export const STATE_BYTES = 16;
/** Bytes of what a split of a row leaves. */
export const PARTIAL_BYTES = 16;

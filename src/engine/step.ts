import type { DispatchPass } from './kernel.ts';

/**
 * What every kernel of one forward pass knows, in one uniform buffer. A kernel's WGSL declares the leading fields it uses:
 *
 *     struct Step {
 *       rows: u32,                // token rows in the batch
 *       block_table_stride: u32,  // entries per sequence in `block_tables`
 *       decode_rows: u32,         // rows attended by the split-K decode kernel
 *       prefill_tiles: u32,       // query tiles attended by the prefill kernel
 *       head_rows: u32,           // rows that go through the final norm and the head
 *       sample_rows: u32,         // of those, rows that are sampled
 *     }
 *
 * and the batch tables, each in one storage buffer:
 *
 *     row_info: array<vec2<u32>>       per row: sequence index, position
 *     block_tables: array<u32>         [sequences, block_table_stride]
 *     decode_info: array<vec4<u32>>    per decode row: row, 1, sequence, position; a tile of one row
 *     prefill_info: array<vec4<u32>>   per tile: first row, rows in the tile, sequence, position of the first row
 *     head_info: array<u32>            per head row: row
 *     sample_info: array<SampleInfo>   per sampled row: see `encodeSampleRows` in kernels/sample-rows.ts
 */
export interface StepShape {
  readonly rows: number;
  readonly blockTableStride: number;
  readonly decodeRows: number;
  /** The most keys that a decode row attends to, its position + 1: sizes the grid of the decode kernel; not in the uniform. */
  readonly maxDecodeKeys: number;
  readonly prefillTiles: number;
  readonly headRows: number;
  readonly sampleRows: number;
}

/** A step that is nothing but token rows, as kernels that work row by row see it: nobody's cache, nothing to attend to or sample. */
export function rowsStep(rows: number): StepShape {
  return {
    rows,
    blockTableStride: 0,
    decodeRows: 0,
    maxDecodeKeys: 0,
    prefillTiles: 0,
    headRows: 0,
    sampleRows: 0,
  };
}

/** Bytes of the Step uniform: its 6 fields, rounded up to 16-byte alignment. */
export const STEP_UNIFORM_BYTES = 32;

/** The Step uniform as the kernels read it. */
export function encodeStep(step: StepShape): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(STEP_UNIFORM_BYTES / Uint32Array.BYTES_PER_ELEMENT);
  words.set([
    step.rows,
    step.blockTableStride,
    step.decodeRows,
    step.prefillTiles,
    step.headRows,
    step.sampleRows,
  ]);
  return words;
}

/** Sequences adding fewer rows than this are attended row by row with the decode kernel; a prefill tile would be mostly empty. */
export const PREFILL_MIN_ROWS = 8;
/** Query rows of one prefill tile. All of a tile belong to one sequence. */
export const PREFILL_TILE_ROWS = 16;

/** A kernel bound to the buffers of a slice, which knows its own grid. Encodes nothing when the step has no work for it. */
export interface StepKernel {
  readonly name: string;
  encode(pass: DispatchPass, step: StepShape): void;
}

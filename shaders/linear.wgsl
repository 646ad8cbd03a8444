// What the kernels of linear maps share: output = input × weightsᵀ (+ bias), input f32 [rows, in_features], and what is fused with it.
// Placed in front of them, behind the weights.
//
//   normed     the map is of RMSNorm(input): the kernel multiplies the input by `gain`, sums up its squares on the way, and multiplies
//              its finished sums by 1 / sqrt(mean square + epsilon). The norm needs no pass and no buffer of its own.
//   epilogue   STORE     f32 [rows, out_stride], columns [out_offset, out_offset + out_features)
//              ADD       the same, added to what is there: the residual stream
//              SWIGLU    the weights are the rows of gate, then those of up; column j of the output is silu(gate_j) · up_j
//
// A kernel computes output features in fours, called a quad: the rows `quad_rows(first)` of the weights.

override normed: bool;
override epilogue: u32;

const ADD = 1u;
const SWIGLU = 2u;

// Not overrides: the maps of a slice differ in size, and a pipeline each would multiply the time to compile them.
struct Sizes {
  in_features: u32, // a multiple of 8
  out_features: u32, // rows of `weights`
  out_stride: u32,
  out_offset: u32,
  has_bias: u32, // 0 or 1
  of_head_rows: u32, // 1: row i of the output belongs to input row head_info[i], for the step's head rows
  epsilon: f32, // read when `normed`
  octets_per_group: u32, // that share a scale; those of the row for floats
}

struct Step {
  rows: u32,
  block_table_stride: u32,
  decode_rows: u32,
  prefill_tiles: u32,
  head_rows: u32,
}

// Sizes of this step.
@group(0) @binding(2) var<uniform> step: Step;
// Sizes of this map.
@group(0) @binding(3) var<uniform> sizes: Sizes;
// Bindings 4 and 5 are `input` and `gain`, in vec4s or one by one as the kernel likes them.
// f32 [out_stride]; read when `has_bias`.
@group(0) @binding(6) var<storage, read> bias: array<f32>;
// Row per head row; read when `of_head_rows`.
@group(0) @binding(7) var<storage, read> head_info: array<u32>;
// f32 [rows, out_stride].
@group(0) @binding(8) var<storage, read_write> output: array<f32>;

fn row_count() -> u32 {
  return select(step.rows, step.head_rows, sizes.of_head_rows != 0u);
}

// The input row of an output row. Rows past the end are computed on the last one and not stored.
fn input_row(row: u32) -> u32 {
  let existing = min(row, row_count() - 1u);
  if (sizes.of_head_rows != 0u) {
    return head_info[existing];
  }
  return existing;
}

// Features past the end are computed on the last one and not stored.
fn quad_rows(first: u32) -> vec4<u32> {
  var rows = first + vec4<u32>(0u, 1u, 2u, 3u);
  if (epilogue == SWIGLU) {
    // Two pairs: gate, gate, up, up.
    let pairs = sizes.out_features / 2u;
    let pair = first / 2u;
    rows = vec4<u32>(pair, pair + 1u, pairs + pair, pairs + pair + 1u);
  }
  return min(rows, vec4<u32>(sizes.out_features - 1u));
}

fn norm_scale(squares: f32) -> f32 {
  return inverseSqrt(squares / f32(sizes.in_features) + sizes.epsilon);
}

// sum + the products of 4 weight rows with an octet of the input.
fn accumulate(sum: vec4<f32>, w0: Octet, w1: Octet, w2: Octet, w3: Octet, lo: vec4<f32>, hi: vec4<f32>) -> vec4<f32> {
  let sum0 = fma(vec4<f32>(lo.x), vec4<f32>(w0.lo.x, w1.lo.x, w2.lo.x, w3.lo.x), sum);
  let sum1 = fma(vec4<f32>(lo.y), vec4<f32>(w0.lo.y, w1.lo.y, w2.lo.y, w3.lo.y), sum0);
  let sum2 = fma(vec4<f32>(lo.z), vec4<f32>(w0.lo.z, w1.lo.z, w2.lo.z, w3.lo.z), sum1);
  let sum3 = fma(vec4<f32>(lo.w), vec4<f32>(w0.lo.w, w1.lo.w, w2.lo.w, w3.lo.w), sum2);
  let sum4 = fma(vec4<f32>(hi.x), vec4<f32>(w0.hi.x, w1.hi.x, w2.hi.x, w3.hi.x), sum3);
  let sum5 = fma(vec4<f32>(hi.y), vec4<f32>(w0.hi.y, w1.hi.y, w2.hi.y, w3.hi.y), sum4);
  let sum6 = fma(vec4<f32>(hi.z), vec4<f32>(w0.hi.z, w1.hi.z, w2.hi.z, w3.hi.z), sum5);
  return fma(vec4<f32>(hi.w), vec4<f32>(w0.hi.w, w1.hi.w, w2.hi.w, w3.hi.w), sum6);
}

fn store(row: u32, feature: u32, value: f32) {
  if (feature >= sizes.out_features) {
    return;
  }
  let column = sizes.out_offset + feature;
  let index = row * sizes.out_stride + column;
  var result = value;
  if (sizes.has_bias != 0u) {
    result += bias[column];
  }
  if (epilogue == ADD) {
    result += output[index];
  }
  output[index] = result;
}

fn silu(x: f32) -> f32 {
  return x / (1.0 + exp(-x));
}

fn store_pair(row: u32, pair: u32, gate: f32, up: f32) {
  if (pair < sizes.out_features / 2u) {
    output[row * sizes.out_stride + sizes.out_offset + pair] = silu(gate) * up;
  }
}

// The finished sums of the quad that begins at feature `first`.
fn store_quad(row: u32, first: u32, values: vec4<f32>) {
  if (epilogue == SWIGLU) {
    store_pair(row, first / 2u, values.x, values.z);
    store_pair(row, first / 2u + 1u, values.y, values.w);
    return;
  }
  store(row, first, values.x);
  store(row, first + 1u, values.y);
  store(row, first + 2u, values.z);
  store(row, first + 3u, values.w);
}

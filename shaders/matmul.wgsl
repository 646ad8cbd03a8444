// output = input × weightsᵀ (+ bias) for many rows: input f32 [rows, in_features], output f32 [rows, out_stride], columns
// [out_offset, out_offset + out_features).
//
// A workgroup computes a tile of 32 rows × 64 features, an invocation 8 × 4 of it in registers. Both operands go through workgroup memory
// in slices of 16 along in_features, transposed so that the inner loop reads two vec4 of rows and one of features and does 32
// multiply-adds. 32 rows, not 64, so that a decode batch of a few sequences wastes less; slices of 16, not 32, because 6 KiB of workgroup
// memory let a GPU core hold several workgroups, and SwiftShader compiles as many instructions to clear it as it has words.
// Half of the invocations load the input, the other half the weights.
// Grid: x is the row tile, y the feature tile: neighbours in time share weights, which are the bigger operand.

// Not overrides: the maps of a slice differ in size, and a pipeline each would multiply the time to compile them.
struct Sizes {
  in_features: u32, // a multiple of 8
  out_features: u32, // rows of `weights`
  out_stride: u32,
  out_offset: u32,
  has_bias: u32, // 0 or 1
  of_head_rows: u32, // 1: the rows are the step's head rows, not all its rows
}

struct Step {
  rows: u32,
  block_table_stride: u32,
  decode_rows: u32,
  prefill_tiles: u32,
  head_rows: u32,
}

// Binding 0 is `weights`, in weights.wgsl.
// Sizes of this step.
@group(0) @binding(1) var<uniform> step: Step;
// Sizes of this map.
@group(0) @binding(2) var<uniform> sizes: Sizes;
// f32 [rows, in_features].
@group(0) @binding(3) var<storage, read> input: array<vec4<f32>>;
// f32 [out_features]; read when `has_bias`.
@group(0) @binding(4) var<storage, read> bias: array<f32>;
// f32 [rows, out_stride].
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

const TILE_ROWS = 32u;
const TILE_FEATURES = 64u;
const TILE_K = 16u;
const LOADERS = 32u; // invocations that load each operand
// One vec4 of padding per k keeps the transposing stores off the same memory banks.
const ROW_STRIDE = TILE_ROWS / 4u + 1u;
const FEATURE_STRIDE = TILE_FEATURES / 4u + 1u;

// [k, 4 rows] and [k, 4 features].
var<workgroup> input_tile: array<vec4<f32>, TILE_K * ROW_STRIDE>;
var<workgroup> weight_tile: array<vec4<f32>, TILE_K * FEATURE_STRIDE>;

// 4 rows × 4 k per loader. Rows past the end repeat the last one; they are not stored.
fn load_input_tile(loader: u32, first_row: u32, rows: u32, first_k: u32) {
  let quads = sizes.in_features / 4u;
  let four = loader / (TILE_K / 4u);
  let k = 4u * (loader % (TILE_K / 4u));
  let quad = (first_k + k) / 4u;
  let row = first_row + 4u * four;
  var x = mat4x4<f32>();
  if (quad < quads) {
    x = transpose(mat4x4<f32>(
      input[min(row, rows - 1u) * quads + quad],
      input[min(row + 1u, rows - 1u) * quads + quad],
      input[min(row + 2u, rows - 1u) * quads + quad],
      input[min(row + 3u, rows - 1u) * quads + quad],
    ));
  }
  input_tile[k * ROW_STRIDE + four] = x[0];
  input_tile[(k + 1u) * ROW_STRIDE + four] = x[1];
  input_tile[(k + 2u) * ROW_STRIDE + four] = x[2];
  input_tile[(k + 3u) * ROW_STRIDE + four] = x[3];
}

// 4 features × 8 k per loader. Features past the end repeat the last one; they are not stored.
fn load_weight_tile(loader: u32, first_feature: u32, first_k: u32) {
  let octets = sizes.in_features / 8u;
  let four = loader / (TILE_K / 8u);
  let k = 8u * (loader % (TILE_K / 8u));
  let octet = (first_k + k) / 8u;
  let feature = first_feature + 4u * four;
  var lo = mat4x4<f32>();
  var hi = mat4x4<f32>();
  if (octet < octets) {
    let w0 = load_octet(min(feature, sizes.out_features - 1u) * octets + octet);
    let w1 = load_octet(min(feature + 1u, sizes.out_features - 1u) * octets + octet);
    let w2 = load_octet(min(feature + 2u, sizes.out_features - 1u) * octets + octet);
    let w3 = load_octet(min(feature + 3u, sizes.out_features - 1u) * octets + octet);
    lo = transpose(mat4x4<f32>(w0.lo, w1.lo, w2.lo, w3.lo));
    hi = transpose(mat4x4<f32>(w0.hi, w1.hi, w2.hi, w3.hi));
  }
  weight_tile[k * FEATURE_STRIDE + four] = lo[0];
  weight_tile[(k + 1u) * FEATURE_STRIDE + four] = lo[1];
  weight_tile[(k + 2u) * FEATURE_STRIDE + four] = lo[2];
  weight_tile[(k + 3u) * FEATURE_STRIDE + four] = lo[3];
  weight_tile[(k + 4u) * FEATURE_STRIDE + four] = hi[0];
  weight_tile[(k + 5u) * FEATURE_STRIDE + four] = hi[1];
  weight_tile[(k + 6u) * FEATURE_STRIDE + four] = hi[2];
  weight_tile[(k + 7u) * FEATURE_STRIDE + four] = hi[3];
}

fn store(row: u32, feature: u32, value: f32) {
  if (feature < sizes.out_features) {
    var result = value;
    if (sizes.has_bias != 0u) {
      result += bias[feature];
    }
    output[row * sizes.out_stride + sizes.out_offset + feature] = result;
  }
}

fn store_row(row: u32, rows: u32, feature: u32, values: vec4<f32>) {
  if (row < rows) {
    store(row, feature, values.x);
    store(row, feature + 1u, values.y);
    store(row, feature + 2u, values.z);
    store(row, feature + 3u, values.w);
  }
}

@compute @workgroup_size(16, 4)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let rows = select(step.rows, step.head_rows, sizes.of_head_rows != 0u);
  let first_row = group.x * TILE_ROWS;
  let first_feature = group.y * TILE_FEATURES;

  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  var sum2 = vec4<f32>();
  var sum3 = vec4<f32>();
  var sum4 = vec4<f32>();
  var sum5 = vec4<f32>();
  var sum6 = vec4<f32>();
  var sum7 = vec4<f32>();
  for (var first_k = 0u; first_k < sizes.in_features; first_k += TILE_K) {
    if (index < LOADERS) {
      load_input_tile(index, first_row, rows, first_k);
    } else {
      load_weight_tile(index - LOADERS, first_feature, first_k);
    }
    workgroupBarrier();
    // The bound is a run-time value on purpose: some compilers unroll a constant one whole and then need seconds for this kernel.
    let slice_k = min(TILE_K, sizes.in_features - first_k);
    for (var k = 0u; k < slice_k; k += 1u) {
      let x = input_tile[k * ROW_STRIDE + 2u * local.y];
      let y = input_tile[k * ROW_STRIDE + 2u * local.y + 1u];
      let w = weight_tile[k * FEATURE_STRIDE + local.x];
      sum0 += x.x * w;
      sum1 += x.y * w;
      sum2 += x.z * w;
      sum3 += x.w * w;
      sum4 += y.x * w;
      sum5 += y.y * w;
      sum6 += y.z * w;
      sum7 += y.w * w;
    }
    workgroupBarrier();
  }

  let row = first_row + 8u * local.y;
  let feature = first_feature + 4u * local.x;
  store_row(row, rows, feature, sum0);
  store_row(row + 1u, rows, feature, sum1);
  store_row(row + 2u, rows, feature, sum2);
  store_row(row + 3u, rows, feature, sum3);
  store_row(row + 4u, rows, feature, sum4);
  store_row(row + 5u, rows, feature, sum5);
  store_row(row + 6u, rows, feature, sum6);
  store_row(row + 7u, rows, feature, sum7);
}

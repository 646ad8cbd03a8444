// A linear map for many rows.
//
// A workgroup computes a tile of 32 rows × 64 features, an invocation 8 × 4 of it in registers. Both operands go through workgroup memory
// in slices of 16 along in_features, transposed so that the inner loop reads two vec4 of rows and one of features and does 32
// multiply-adds. 32 rows, not 64, so that a decode batch of a few sequences wastes less; slices of 16, not 32, because 6 KiB of workgroup
// memory let a GPU core hold several workgroups, and SwiftShader compiles as many instructions to clear it as it has words.
// Half of the invocations load the input, the other half the weights.
// Grid: x is the row tile, y the feature tile: neighbours in time share weights, which are the bigger operand.

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

// 4 rows × 4 k per loader; returns the squares of the rows, where they are wanted. `rows` are the input rows.
fn load_input_tile(loader: u32, rows: vec4<u32>, first_k: u32) -> vec4<f32> {
  let quads = sizes.in_features / 4u;
  let four = loader / (TILE_K / 4u);
  let k = 4u * (loader % (TILE_K / 4u));
  let quad = (first_k + k) / 4u;
  var x = mat4x4<f32>();
  var squares = vec4<f32>();
  if (quad < quads) {
    x = transpose(mat4x4<f32>(
      input[rows.x * quads + quad],
      input[rows.y * quads + quad],
      input[rows.z * quads + quad],
      input[rows.w * quads + quad],
    ));
    if (normed) {
      squares = x[0] * x[0] + x[1] * x[1] + x[2] * x[2] + x[3] * x[3];
      let gains = gain[quad];
      x = mat4x4<f32>(x[0] * gains.x, x[1] * gains.y, x[2] * gains.z, x[3] * gains.w);
    }
  }
  input_tile[k * ROW_STRIDE + four] = x[0];
  input_tile[(k + 1u) * ROW_STRIDE + four] = x[1];
  input_tile[(k + 2u) * ROW_STRIDE + four] = x[2];
  input_tile[(k + 3u) * ROW_STRIDE + four] = x[3];
  return squares;
}

// 4 features × 8 k per loader.
fn load_weight_tile(loader: u32, first_feature: u32, first_k: u32) {
  let octets = sizes.in_features / 8u;
  let four = loader / (TILE_K / 8u);
  let k = 8u * (loader % (TILE_K / 8u));
  let octet = (first_k + k) / 8u;
  var lo = mat4x4<f32>();
  var hi = mat4x4<f32>();
  if (octet < octets) {
    let rows = quad_rows(first_feature + 4u * four) * octets + octet;
    let w0 = load_octet(rows.x);
    let w1 = load_octet(rows.y);
    let w2 = load_octet(rows.z);
    let w3 = load_octet(rows.w);
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

// The squares of 4 rows, which 4 loaders share.
fn sum_of_squares(four: u32) -> vec4<f32> {
  let first = four * (TILE_K / 4u);
  return input_tile[first] + input_tile[first + 1u] + input_tile[first + 2u] + input_tile[first + 3u];
}

fn store_row(row: u32, first_feature: u32, values: vec4<f32>, squares: f32) {
  if (row >= row_count()) {
    return;
  }
  if (normed) {
    store_quad(row, first_feature, values * norm_scale(squares));
  } else {
    store_quad(row, first_feature, values);
  }
}

@compute @workgroup_size(16, 4)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let first_row = group.x * TILE_ROWS;
  let first_feature = group.y * TILE_FEATURES;
  let loaded_row = first_row + 4u * (index / (TILE_K / 4u));
  let loaded_rows = vec4<u32>(
    input_row(loaded_row),
    input_row(loaded_row + 1u),
    input_row(loaded_row + 2u),
    input_row(loaded_row + 3u),
  );

  var squares = vec4<f32>();
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
      squares += load_input_tile(index, loaded_rows, first_k);
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

  var squares0 = vec4<f32>();
  var squares1 = vec4<f32>();
  if (normed) {
    if (index < LOADERS) {
      input_tile[index] = squares;
    }
    workgroupBarrier();
    squares0 = sum_of_squares(2u * local.y);
    squares1 = sum_of_squares(2u * local.y + 1u);
  }
  let row = first_row + 8u * local.y;
  let feature = first_feature + 4u * local.x;
  store_row(row, feature, sum0, squares0.x);
  store_row(row + 1u, feature, sum1, squares0.y);
  store_row(row + 2u, feature, sum2, squares0.z);
  store_row(row + 3u, feature, sum3, squares0.w);
  store_row(row + 4u, feature, sum4, squares1.x);
  store_row(row + 5u, feature, sum5, squares1.y);
  store_row(row + 6u, feature, sum6, squares1.z);
  store_row(row + 7u, feature, sum7, squares1.w);
}

// matmul with the input rounded to int8: a linear map for many rows.
//
// A workgroup computes a tile of 32 rows × 64 features, an invocation 8 × 4 of it in registers, in slices of one group of 32 elements.
// A slice of the input is rounded when it is loaded, once for 64 features. A word of the inner loop is 4 elements: 32 dot products of
// 4 where matmul has 128 multiply-adds. The scales are multiplied once per slice.
// Half of the invocations load the input, a row each; the other half the weights, 4 features × 16 elements each.
// Grid: as matmul.

const TILE_ROWS = 32u;
const TILE_FEATURES = 64u;
const LOADERS = 32u; // invocations that load each operand
const FEATURE_QUADS = TILE_FEATURES / 4u;
// Padding keeps the stores of loaders, which have a row or 4 features each, off the same memory banks.
const ROW_STRIDE = TILE_ROWS + 1u;
const FEATURE_STRIDE = FEATURE_QUADS + 1u;

// [word, row] and [word, 4 features].
var<workgroup> input_codes: array<u32, GROUP_QUADS * ROW_STRIDE>;
var<workgroup> weight_codes: array<vec4<u32>, GROUP_QUADS * FEATURE_STRIDE>;
// [row]: scale and sum of a group; at the end the squares of the row.
var<workgroup> input_groups: array<vec2<f32>, TILE_ROWS>;
// [4 features].
var<workgroup> weight_scales: array<WeightScales, FEATURE_QUADS>;

// A group of a row; returns its squares, where they are wanted. The second look at the values is at a cache.
fn load_input_slice(loader: u32, row_start: u32, group: u32) -> f32 {
  let first_quad = (row_start + group) * GROUP_QUADS;
  let first_gain = group * GROUP_QUADS;
  let quads = quads_of_group();
  var largest = 0.0;
  var squares = 0.0;
  for (var quad = 0u; quad < quads; quad += 1u) {
    var values = input[first_quad + quad];
    if (normed) {
      squares += dot(values, values);
      values *= gain[first_gain + quad];
    }
    largest = max(largest, largest_of(values));
  }
  let per_unit = codes_per_unit(largest);
  var sum = Count();
  for (var quad = 0u; quad < quads; quad += 1u) {
    var values = input[first_quad + quad];
    if (normed) {
      values *= gain[first_gain + quad];
    }
    let word = quantise(values, per_unit);
    input_codes[quad * ROW_STRIDE + loader] = word;
    sum += sum_of_codes(word);
  }
  input_groups[loader] = vec2<f32>(input_scale(largest), f32(sum));
  return squares;
}

// 4 features × 2 octets per loader.
fn load_weight_slice(loader: u32, first_feature: u32, group: u32) {
  let four = loader / 2u;
  let half = loader % 2u;
  let rows = quad_rows(first_feature + 4u * four) * (sizes.in_features / 8u) + group * GROUP_OCTETS;
  for (var octet = 2u * half; octet < 2u * half + 2u; octet += 1u) {
    let w = load_weight_codes(rows + octet);
    weight_codes[2u * octet * FEATURE_STRIDE + four] = vec4<u32>(w.w0.x, w.w1.x, w.w2.x, w.w3.x);
    weight_codes[(2u * octet + 1u) * FEATURE_STRIDE + four] = vec4<u32>(w.w0.y, w.w1.y, w.w2.y, w.w3.y);
  }
  if (half == 0u) {
    weight_scales[four] = load_weight_scales(rows);
  }
}

fn add_dots(dots: vec4<Count>, w: vec4<u32>, x: u32) -> vec4<Count> {
  return vec4<Count>(
    add_dot(dots.x, w.x, x),
    add_dot(dots.y, w.y, x),
    add_dot(dots.z, w.z, x),
    add_dot(dots.w, w.w, x),
  );
}

// total + a finished slice of the row `row` of the tile.
fn end_slice(total: vec4<f32>, dots: vec4<Count>, row: u32, four: u32) -> vec4<f32> {
  let x = input_groups[row];
  return add_scaled(total, Counts(dots, Count(x.y)), weight_scales[four], x.x);
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
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let first_row = workgroup.x * TILE_ROWS;
  let first_feature = workgroup.y * TILE_FEATURES;
  let groups = sizes.in_features / GROUP_VALUES;
  let row_start = input_row(first_row + index % LOADERS) * groups;
  let tile_row = 8u * local.y;

  var squares = 0.0;
  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  var sum2 = vec4<f32>();
  var sum3 = vec4<f32>();
  var sum4 = vec4<f32>();
  var sum5 = vec4<f32>();
  var sum6 = vec4<f32>();
  var sum7 = vec4<f32>();
  for (var group = 0u; group < groups; group += 1u) {
    if (index < LOADERS) {
      squares += load_input_slice(index, row_start, group);
    } else {
      load_weight_slice(index - LOADERS, first_feature, group);
    }
    workgroupBarrier();
    var dots0 = vec4<Count>();
    var dots1 = vec4<Count>();
    var dots2 = vec4<Count>();
    var dots3 = vec4<Count>();
    var dots4 = vec4<Count>();
    var dots5 = vec4<Count>();
    var dots6 = vec4<Count>();
    var dots7 = vec4<Count>();
    let words = quads_of_group();
    for (var word = 0u; word < words; word += 1u) {
      let x = word * ROW_STRIDE + tile_row;
      let w = weight_codes[word * FEATURE_STRIDE + local.x];
      dots0 = add_dots(dots0, w, input_codes[x]);
      dots1 = add_dots(dots1, w, input_codes[x + 1u]);
      dots2 = add_dots(dots2, w, input_codes[x + 2u]);
      dots3 = add_dots(dots3, w, input_codes[x + 3u]);
      dots4 = add_dots(dots4, w, input_codes[x + 4u]);
      dots5 = add_dots(dots5, w, input_codes[x + 5u]);
      dots6 = add_dots(dots6, w, input_codes[x + 6u]);
      dots7 = add_dots(dots7, w, input_codes[x + 7u]);
    }
    sum0 = end_slice(sum0, dots0, tile_row, local.x);
    sum1 = end_slice(sum1, dots1, tile_row + 1u, local.x);
    sum2 = end_slice(sum2, dots2, tile_row + 2u, local.x);
    sum3 = end_slice(sum3, dots3, tile_row + 3u, local.x);
    sum4 = end_slice(sum4, dots4, tile_row + 4u, local.x);
    sum5 = end_slice(sum5, dots5, tile_row + 5u, local.x);
    sum6 = end_slice(sum6, dots6, tile_row + 6u, local.x);
    sum7 = end_slice(sum7, dots7, tile_row + 7u, local.x);
    workgroupBarrier();
  }

  if (normed) {
    if (index < LOADERS) {
      input_groups[index] = vec2<f32>(squares, 0.0);
    }
    workgroupBarrier();
  }
  let row = first_row + tile_row;
  let feature = first_feature + 4u * local.x;
  store_row(row, feature, sum0, input_groups[tile_row].x);
  store_row(row + 1u, feature, sum1, input_groups[tile_row + 1u].x);
  store_row(row + 2u, feature, sum2, input_groups[tile_row + 2u].x);
  store_row(row + 3u, feature, sum3, input_groups[tile_row + 3u].x);
  store_row(row + 4u, feature, sum4, input_groups[tile_row + 4u].x);
  store_row(row + 5u, feature, sum5, input_groups[tile_row + 5u].x);
  store_row(row + 6u, feature, sum6, input_groups[tile_row + 6u].x);
  store_row(row + 7u, feature, sum7, input_groups[tile_row + 7u].x);
}

// output = input × weightsᵀ (+ bias) for few rows: input f32 [rows, in_features], output f32 [rows, out_stride], columns
// [out_offset, out_offset + out_features). Reads every weight once per `input_rows` rows: bound by memory, as decoding is.
//
// A team of `lanes` invocations computes 4 output features of `input_rows` rows. Its lanes sweep the 4 weight rows side by side in
// octets, so that one cycle touches one contiguous stripe of each, and the activations are loaded once for all 4. Partial sums meet in
// workgroup memory behind the only barrier, and one lane per input row adds them up in a fixed order: the bits of a row depend neither
// on the other rows nor on scheduling. With one lane per team, as on CPUs, there is nothing to add up.
// Grid: x and y are the groups of 4 · teams output features (two-dimensional, since a vocabulary can exceed 65,535 groups), z the groups
// of `input_rows` rows.

override input_rows: u32; // rows computed together: 1 or 4
override lanes: u32; // invocations of a team
override teams: u32; // teams of a workgroup

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

// [input row, team, lane]: sums of 4 output features.
var<workgroup> partial_sums: array<vec4<f32>, input_rows * teams * lanes>;

fn multiply(w0: Octet, w1: Octet, w2: Octet, w3: Octet, lo: vec4<f32>, hi: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(
    dot(w0.lo, lo) + dot(w0.hi, hi),
    dot(w1.lo, lo) + dot(w1.hi, hi),
    dot(w2.lo, lo) + dot(w2.hi, hi),
    dot(w3.lo, lo) + dot(w3.hi, hi),
  );
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

@compute @workgroup_size(lanes, teams)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let team = local.y;
  let octets = sizes.in_features / 8u;
  let rows = select(step.rows, step.head_rows, sizes.of_head_rows != 0u);
  let first_row = group.z * input_rows;
  let first_feature = 4u * ((group.y * groups.x + group.x) * teams + team);

  // Features and rows past the end are computed on the last one and not stored.
  let w0 = min(first_feature, sizes.out_features - 1u) * octets;
  let w1 = min(first_feature + 1u, sizes.out_features - 1u) * octets;
  let w2 = min(first_feature + 2u, sizes.out_features - 1u) * octets;
  let w3 = min(first_feature + 3u, sizes.out_features - 1u) * octets;
  let x0 = first_row * octets;
  let x1 = min(first_row + 1u, rows - 1u) * octets;
  let x2 = min(first_row + 2u, rows - 1u) * octets;
  let x3 = min(first_row + 3u, rows - 1u) * octets;

  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  var sum2 = vec4<f32>();
  var sum3 = vec4<f32>();
  for (var octet = lane; octet < octets; octet += lanes) {
    let o0 = load_octet(w0 + octet);
    let o1 = load_octet(w1 + octet);
    let o2 = load_octet(w2 + octet);
    let o3 = load_octet(w3 + octet);
    sum0 += multiply(o0, o1, o2, o3, input[2u * (x0 + octet)], input[2u * (x0 + octet) + 1u]);
    if (input_rows > 1u) {
      sum1 += multiply(o0, o1, o2, o3, input[2u * (x1 + octet)], input[2u * (x1 + octet) + 1u]);
      sum2 += multiply(o0, o1, o2, o3, input[2u * (x2 + octet)], input[2u * (x2 + octet) + 1u]);
      sum3 += multiply(o0, o1, o2, o3, input[2u * (x3 + octet)], input[2u * (x3 + octet) + 1u]);
    }
  }
  let slot = team * lanes + lane;
  let slots = teams * lanes;
  partial_sums[slot] = sum0;
  if (input_rows > 1u) {
    partial_sums[slots + slot] = sum1;
    partial_sums[2u * slots + slot] = sum2;
    partial_sums[3u * slots + slot] = sum3;
  }
  workgroupBarrier();

  for (var index = lane; index < input_rows; index += lanes) {
    let row = first_row + index;
    if (row < rows) {
      var sum = vec4<f32>();
      for (var other = 0u; other < lanes; other += 1u) {
        sum += partial_sums[index * slots + team * lanes + other];
      }
      store(row, first_feature, sum.x);
      store(row, first_feature + 1u, sum.y);
      store(row, first_feature + 2u, sum.z);
      store(row, first_feature + 3u, sum.w);
    }
  }
}

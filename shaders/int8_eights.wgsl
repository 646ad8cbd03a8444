// How invocations of matvec_lane_int8 read the input, with subgroups of at least 8: an invocation loads and rounds 4 values of a group,
// and the first 8 of a subgroup hand their codes around.

// The norm's weights for the 4 values.
alias Gains = vec4<f32>;

fn load_gains(group: u32, lane: u32) -> Gains {
  return gain[GROUP_QUADS * group + lane % 8u];
}

// Of one row: the codes of the invocation's values, the sum of all, the squares of its own values.
struct InputGroup {
  codes: u32,
  scale: f32,
  sum: Count,
  squares: f32,
}

// Groups are numbered through all rows.
fn begin_group(group: u32, gains: Gains, lane: u32) -> InputGroup {
  var values = input[GROUP_QUADS * group + lane % 8u];
  var squares = 0.0;
  if (normed) {
    squares = dot(values, values);
    values *= gains;
  }
  let own_largest = largest_of(values);
  let pair_largest = max(own_largest, subgroupShuffleXor(own_largest, 1u));
  let four_largest = max(pair_largest, subgroupShuffleXor(pair_largest, 2u));
  let largest = max(four_largest, subgroupShuffleXor(four_largest, 4u));
  let codes = quantise(values, codes_per_unit(largest));
  let own_sum = sum_of_codes(codes);
  let pair_sum = own_sum + subgroupShuffleXor(own_sum, 1u);
  let four_sum = pair_sum + subgroupShuffleXor(pair_sum, 2u);
  return InputGroup(codes, input_scale(largest), four_sum + subgroupShuffleXor(four_sum, 4u), squares);
}

fn octet_codes(x: InputGroup, gains: Gains, octet: u32, lane: u32) -> vec2<u32> {
  return vec2<u32>(subgroupShuffle(x.codes, 2u * octet), subgroupShuffle(x.codes, 2u * octet + 1u));
}

// It is there from the beginning.
fn octet_sum(codes: vec2<u32>) -> Count {
  return Count();
}

fn sum_of_owns(own: f32) -> f32 {
  let pair = own + subgroupShuffleXor(own, 1u);
  let four = pair + subgroupShuffleXor(pair, 2u);
  return four + subgroupShuffleXor(four, 4u);
}

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) subgroup_index: u32,
) {
  compute(group, groups, index, subgroup_index);
}

// How invocations of matvec_lane_int8 read the input, with subgroups: the 4 of a quad load and round an octet of a group each, and hand
// their codes around.

// The norm's weights for the octet.
alias Gains = Octet;

fn load_gains(group: u32, lane: u32) -> Gains {
  let quad = GROUP_QUADS * group + 2u * (lane % 4u);
  return Octet(gain[quad], gain[quad + 1u]);
}

// Of one row: the codes of the invocation's octet, the sum of all, the squares of its own values.
struct InputGroup {
  codes: vec2<u32>,
  scale: f32,
  sum: Count,
  squares: f32,
}

// Groups are numbered through all rows.
fn begin_group(group: u32, gains: Gains, lane: u32) -> InputGroup {
  let quad = GROUP_QUADS * group + 2u * (lane % 4u);
  var lo = input[quad];
  var hi = input[quad + 1u];
  var squares = 0.0;
  if (normed) {
    squares = dot(lo, lo) + dot(hi, hi);
    lo *= gains.lo;
    hi *= gains.hi;
  }
  let own_largest = largest_of(max(abs(lo), abs(hi)));
  let pair_largest = max(own_largest, quadSwapX(own_largest));
  let largest = max(pair_largest, quadSwapY(pair_largest));
  let per_unit = codes_per_unit(largest);
  let codes = vec2<u32>(quantise(lo, per_unit), quantise(hi, per_unit));
  let own_sum = sum_of_codes(codes.x) + sum_of_codes(codes.y);
  let pair_sum = own_sum + quadSwapX(own_sum);
  return InputGroup(codes, input_scale(largest), pair_sum + quadSwapY(pair_sum), squares);
}

fn octet_codes(x: InputGroup, gains: Gains, octet: u32, lane: u32) -> vec2<u32> {
  return subgroupShuffle(x.codes, lane - lane % 4u + octet);
}

// It is there from the beginning.
fn octet_sum(codes: vec2<u32>) -> Count {
  return Count();
}

fn sum_of_owns(own: f32) -> f32 {
  let pair = own + quadSwapX(own);
  return pair + quadSwapY(pair);
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

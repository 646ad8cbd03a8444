// How an invocation of matvec_lane_int8 reads the input, without subgroups: it looks at a whole group for its scale, and then loads and
// rounds every octet itself.

// The norm's weights where the group has them: read again with every octet.
alias Gains = u32;

fn load_gains(group: u32, lane: u32) -> Gains {
  return GROUP_QUADS * group;
}

// Of one row. `sum` and `codes` come octet by octet.
struct InputGroup {
  first_quad: u32,
  per_unit: f32,
  scale: f32,
  sum: Count,
  squares: f32,
}

// Groups are numbered through all rows.
fn begin_group(group: u32, gains: Gains, lane: u32) -> InputGroup {
  let first_quad = GROUP_QUADS * group;
  var largest = 0.0;
  var squares = 0.0;
  let quads = quads_of_group();
  for (var quad = 0u; quad < quads; quad += 1u) {
    var values = input[first_quad + quad];
    if (normed) {
      squares += dot(values, values);
      values *= gain[gains + quad];
    }
    largest = max(largest, largest_of(values));
  }
  return InputGroup(first_quad, codes_per_unit(largest), input_scale(largest), Count(), squares);
}

fn octet_codes(x: InputGroup, gains: Gains, octet: u32, lane: u32) -> vec2<u32> {
  var lo = input[x.first_quad + 2u * octet];
  var hi = input[x.first_quad + 2u * octet + 1u];
  if (normed) {
    lo *= gain[gains + 2u * octet];
    hi *= gain[gains + 2u * octet + 1u];
  }
  return vec2<u32>(quantise(lo, x.per_unit), quantise(hi, x.per_unit));
}

fn octet_sum(codes: vec2<u32>) -> Count {
  return sum_of_codes(codes.x) + sum_of_codes(codes.y);
}

fn sum_of_owns(own: f32) -> f32 {
  return own;
}

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  compute(group, groups, index, 0u);
}

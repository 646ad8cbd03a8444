// Input and entry point of matvec_lane, with subgroups of at least 8: an invocation loads one value of an octet, and the first 8 of a
// subgroup hand theirs around.

// f32 [rows, in_features].
@group(0) @binding(4) var<storage, read> input: array<f32>;
// f32 [in_features]; read when `normed`.
@group(0) @binding(5) var<storage, read> gain: array<f32>;

alias Own = f32;

fn load_input(octet: u32, lane: u32) -> Own {
  return input[8u * octet + lane];
}

fn load_gain(octet: u32, lane: u32) -> Own {
  return gain[8u * octet + lane];
}

fn own_part(values: Octet, lane: u32) -> Own {
  let four = select(values.lo, values.hi, lane > 3u);
  let within = lane % 4u;
  return select(select(four.x, four.y, within == 1u), select(four.z, four.w, within == 3u), within > 1u);
}

fn product(a: Own, b: Own) -> Own {
  return a * b;
}

fn own_sum(own: Own) -> f32 {
  return own;
}

fn sum_of_owns(own: f32) -> f32 {
  let pair = own + subgroupShuffleXor(own, 1u);
  let four = pair + subgroupShuffleXor(pair, 2u);
  return four + subgroupShuffleXor(four, 4u);
}

fn share(own: Own) -> Octet {
  return Octet(
    vec4<f32>(
      subgroupBroadcast(own, 0u),
      subgroupBroadcast(own, 1u),
      subgroupBroadcast(own, 2u),
      subgroupBroadcast(own, 3u),
    ),
    vec4<f32>(
      subgroupBroadcast(own, 4u),
      subgroupBroadcast(own, 5u),
      subgroupBroadcast(own, 6u),
      subgroupBroadcast(own, 7u),
    ),
  );
}

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) subgroup_index: u32,
) {
  compute(group, groups, index, subgroup_index % 8u);
}

// Input and entry point of matvec_lane, with subgroups: the 4 invocations of a quad load one input value each, and hand them around.

// f32 [rows, in_features].
@group(0) @binding(4) var<storage, read> input: array<f32>;
// f32 [in_features]; read when `normed`.
@group(0) @binding(5) var<storage, read> gain: array<f32>;

alias Own = f32;

fn load_input(quad: u32, lane: u32) -> Own {
  return input[4u * quad + lane];
}

fn load_gain(quad: u32, lane: u32) -> Own {
  return gain[4u * quad + lane];
}

fn own_part(values: vec4<f32>, lane: u32) -> Own {
  return select(select(values.x, values.y, lane == 1u), select(values.z, values.w, lane == 3u), lane > 1u);
}

fn own_square(own: Own) -> f32 {
  return own * own;
}

fn own_sum(own: Own) -> f32 {
  return own;
}

fn sum_of_owns(own: f32) -> f32 {
  let pair = own + quadSwapX(own);
  return pair + quadSwapY(pair);
}

fn share(own: Own) -> vec4<f32> {
  return vec4<f32>(quadBroadcast(own, 0u), quadBroadcast(own, 1u), quadBroadcast(own, 2u), quadBroadcast(own, 3u));
}

@compute @workgroup_size(lanes)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) subgroup_index: u32,
) {
  compute(group, groups, index, subgroup_index % 4u);
}

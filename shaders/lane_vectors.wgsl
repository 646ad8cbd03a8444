// Input and entry point of matvec_lane, without subgroups: every invocation loads every input value.

// f32 [rows, in_features].
@group(0) @binding(4) var<storage, read> input: array<vec4<f32>>;
// f32 [in_features]; read when `normed`.
@group(0) @binding(5) var<storage, read> gain: array<vec4<f32>>;

alias Own = vec4<f32>;

fn load_input(quad: u32, lane: u32) -> Own {
  return input[quad];
}

fn load_gain(quad: u32, lane: u32) -> Own {
  return gain[quad];
}

fn own_part(values: vec4<f32>, lane: u32) -> Own {
  return values;
}

fn own_square(own: Own) -> f32 {
  return dot(own, own);
}

fn own_sum(own: Own) -> f32 {
  return dot(own, vec4<f32>(1.0));
}

fn sum_of_owns(own: f32) -> f32 {
  return own;
}

fn share(own: Own) -> vec4<f32> {
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

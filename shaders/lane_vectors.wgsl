// Input and entry point of matvec_lane, without subgroups: every invocation loads every input value.

// f32 [rows, in_features].
@group(0) @binding(4) var<storage, read> input: array<vec4<f32>>;
// f32 [in_features]; read when `normed`.
@group(0) @binding(5) var<storage, read> gain: array<vec4<f32>>;

alias Own = Octet;

fn load_input(octet: u32, lane: u32) -> Own {
  return Octet(input[2u * octet], input[2u * octet + 1u]);
}

fn load_gain(octet: u32, lane: u32) -> Own {
  return Octet(gain[2u * octet], gain[2u * octet + 1u]);
}

fn own_part(values: Octet, lane: u32) -> Own {
  return values;
}

fn product(a: Own, b: Own) -> Own {
  return Octet(a.lo * b.lo, a.hi * b.hi);
}

fn own_sum(own: Own) -> f32 {
  return dot(own.lo, vec4<f32>(1.0)) + dot(own.hi, vec4<f32>(1.0));
}

fn sum_of_owns(own: f32) -> f32 {
  return own;
}

fn share(own: Own) -> Octet {
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

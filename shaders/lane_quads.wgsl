// Input and entry point of matvec_lane, with subgroups: the 4 invocations of a quad load 2 values of an octet each, and hand them around.

// f32 [rows, in_features].
@group(0) @binding(4) var<storage, read> input: array<f32>;
// f32 [in_features]; read when `normed`.
@group(0) @binding(5) var<storage, read> gain: array<f32>;

// One of the lower and one of the upper 4 values.
alias Own = vec2<f32>;

fn load_input(octet: u32, lane: u32) -> Own {
  let first = 8u * octet + lane;
  return vec2<f32>(input[first], input[first + 4u]);
}

fn load_gain(octet: u32, lane: u32) -> Own {
  let first = 8u * octet + lane;
  return vec2<f32>(gain[first], gain[first + 4u]);
}

fn own_part(values: Octet, lane: u32) -> Own {
  return vec2<f32>(pick(values.lo, lane), pick(values.hi, lane));
}

fn pick(values: vec4<f32>, lane: u32) -> f32 {
  return select(select(values.x, values.y, lane == 1u), select(values.z, values.w, lane == 3u), lane > 1u);
}

fn product(a: Own, b: Own) -> Own {
  return a * b;
}

fn own_sum(own: Own) -> f32 {
  return own.x + own.y;
}

fn sum_of_owns(own: f32) -> f32 {
  let pair = own + quadSwapX(own);
  return pair + quadSwapY(pair);
}

fn share(own: Own) -> Octet {
  return Octet(
    vec4<f32>(
      quadBroadcast(own.x, 0u),
      quadBroadcast(own.x, 1u),
      quadBroadcast(own.x, 2u),
      quadBroadcast(own.x, 3u),
    ),
    vec4<f32>(
      quadBroadcast(own.y, 0u),
      quadBroadcast(own.y, 1u),
      quadBroadcast(own.y, 2u),
      quadBroadcast(own.y, 3u),
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
  compute(group, groups, index, subgroup_index % 4u);
}

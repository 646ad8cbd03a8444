// Leaves the tokens out of the choice that the masks of their rows do not have: their logits become the lowest there are, in place.
//
//   masks   u32 [masks, vocab / 32 rounded up]: a bit for each token that may be chosen
//   logits  f32 [head rows, vocab]
//
// Grid: x = vocab / invocations, rounded up; y = sampled rows.

const WORD_BITS = 32u;

@group(0) @binding(0) var<storage, read> sample_info: array<SampleInfo>;
@group(0) @binding(1) var<storage, read> masks: array<u32>;
@group(0) @binding(2) var<storage, read_write> logits: array<u32>;

@compute @workgroup_size(invocations)
fn main(@builtin(global_invocation_id) invocation: vec3<u32>) {
  let id = invocation.x;
  let info = sample_info[invocation.y];
  if (info.mask == 0u || id >= vocab) {
    return;
  }
  let word = masks[info.mask - 1u + id / WORD_BITS];
  if (((word >> (id % WORD_BITS)) & 1u) == 0u) {
    logits[info.head_row * vocab + id] = bitcast<u32>(-LIMIT);
  }
}

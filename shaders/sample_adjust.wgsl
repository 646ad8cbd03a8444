// Changes the logits that penalties and biases are about, in place, and keeps what they were.
//
//   adjustments  [all rows]: those of a row follow each other
//   logits       f32 [head rows, vocab]
//
// Grid: x = adjustments of the row with the most / invocations, y = sampled rows.

const REPEATED = 1u;
const BANNED = 2u;

@group(0) @binding(0) var<storage, read> sample_info: array<SampleInfo>;
@group(0) @binding(1) var<storage, read_write> adjustments: array<Adjustment>;
@group(0) @binding(2) var<storage, read_write> logits: array<u32>;

@compute @workgroup_size(invocations)
fn main(@builtin(global_invocation_id) invocation: vec3<u32>) {
  let info = sample_info[invocation.y];
  if (invocation.x >= info.adjustment_count) {
    return;
  }
  let index = info.first_adjustment + invocation.x;
  let adjustment = adjustments[index];
  let target_index = info.head_row * vocab + adjustment.token_id;
  let bits = logits[target_index];
  adjustments[index].original = bits;
  if ((adjustment.flags & BANNED) != 0u) {
    logits[target_index] = bitcast<u32>(-LIMIT);
    return;
  }
  // NaN and infinities stay what they are.
  if ((bits & 0x7fffffffu) >= bitcast<u32>(LIMIT)) {
    return;
  }
  var logit = bitcast<f32>(bits);
  if ((adjustment.flags & REPEATED) != 0u) {
    logit = select(logit * info.repetition_penalty, logit / info.repetition_penalty, logit > 0.0);
  }
  logits[target_index] = bitcast<u32>(clamp(logit + adjustment.addend, -LIMIT, LIMIT));
}

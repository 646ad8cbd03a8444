// How a row, or a split of it, ends; in front of the kernels that scan, draw and merge, which declare these buffers.

var<workgroup> best_key: atomic<u32>;
// Complemented, so that the zero it starts from is above every id and the maximum is the lowest id.
var<workgroup> best_id_complement: atomic<u32>;
var<workgroup> has_nan: atomic<u32>;
var<workgroup> part_sums: array<f32, invocations>;
var<workgroup> original_bits: u32;

// (key, id) of the highest key, and of equal ones the lowest id: exact in any order. For all invocations of the workgroup, once.
fn best_of_workgroup(lane_key: u32, lane_id: u32) -> vec2<u32> {
  atomicMax(&best_key, lane_key);
  workgroupBarrier();
  let key = atomicLoad(&best_key);
  if (lane_key == key) {
    atomicMax(&best_id_complement, ~lane_id);
  }
  workgroupBarrier();
  return vec2<u32>(key, ~atomicLoad(&best_id_complement));
}

// The sum of part_sums in order of lanes.
fn summed_parts() -> f32 {
  var total = 0.0;
  for (var part = 0u; part < invocations; part += 1u) {
    total += part_sums[part];
  }
  return total;
}

// The key of a token's unmodified logit. For all invocations of the workgroup, after the logits were adjusted.
fn unmodified_key(lane: u32, info: SampleInfo, id: u32) -> u32 {
  if (lane == 0u) {
    original_bits = logits[info.head_row * vocab + id];
  }
  workgroupBarrier();
  for (var index = lane; index < info.adjustment_count; index += invocations) {
    let adjustment = adjustments[info.first_adjustment + index];
    if (adjustment.token_id == id) {
      original_bits = adjustment.original;
    }
  }
  return logit_key(workgroupUniformLoad(&original_bits));
}

// Writes a row whose unmodified logits are summed up. For one invocation.
fn finish_unmodified(row: u32, best: vec2<u32>) {
  let state = RowState(best.x, log(summed_parts()), atomicLoad(&has_nan), best.x);
  states[row] = state;
  sampled[row] = result_of(state, best.y, best.x);
}

// Writes the chosen token of a row. For all invocations of the workgroup. `choice_key` is of the logits that it was chosen from.
fn finish_choice(lane: u32, row: u32, info: SampleInfo, id: u32, choice_key: u32) {
  let key = unmodified_key(lane, info, id);
  if (lane == 0u) {
    var state = states[row];
    state.choice_key = choice_key;
    states[row] = state;
    sampled[row] = result_of(state, id, key);
  }
}

// Walks the logits of each sampled row for the most probable token, and for what log-probabilities need.
//
//   logits       f32 [head rows, vocab]
//   sample_info  [sampled rows]: which logits, and how to choose
//   partials     [sampled rows, splits]: (highest key, its lowest id, bits of the sum of exp(logit - highest), whether there is a NaN)
//   states       [sampled rows], and sampled [sampled rows] (token id, bits of the f32 log-probability): here where there is one split
//
// The second time, after penalties, biases and masks changed the logits of some rows, it finds the most probable of those rows again, and what
// is known of their unmodified logits stays.
//
// Grid: x = splits, y = sampled rows. Barriers: 2 and 1 to end.

struct Phase {
  is_adjusted: u32,
}

// As bits, so that no compiler reasons about NaN and infinity.
@group(0) @binding(0) var<storage, read> logits: array<u32>;
@group(0) @binding(1) var<storage, read> sample_info: array<SampleInfo>;
@group(0) @binding(2) var<storage, read> adjustments: array<Adjustment>;
@group(0) @binding(3) var<uniform> phase: Phase;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> states: array<RowState>;
@group(0) @binding(6) var<storage, read_write> sampled: array<vec2<u32>>;
// Cleared here for the searches that follow.
@group(0) @binding(7) var<storage, read_write> histograms: array<u32>;

override histogram_words: u32; // of one row

@compute @workgroup_size(invocations)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let split = workgroup.x;
  let row = workgroup.y;
  let info = sample_info[row];
  let is_adjusted = phase.is_adjusted == 1u;
  if (is_adjusted && !is_changed(info)) {
    return;
  }
  let first = info.head_row * vocab;
  let start = split * split_tokens + lane;
  let end = min(vocab, (split + 1u) * split_tokens);

  var lane_key = 0u;
  var lane_id = NO_TOKEN;
  var lane_has_nan = false;
  for (var id = start; id < end; id += invocations) {
    let bits = logits[first + id];
    let key = logit_key(bits);
    if (key > lane_key) {
      lane_key = key;
      lane_id = id;
    }
    lane_has_nan = lane_has_nan || is_nan(bits);
  }
  let best = best_of_workgroup(lane_key, lane_id);

  if (is_adjusted) {
    if (splits == 1u) {
      finish_choice(lane, row, info, best.y, best.x);
    } else if (lane == 0u) {
      partials[row * splits + split] = vec4<u32>(best, 0u, 0u);
    }
    return;
  }

  if (uses_top_k(info) || uses_top_p(info)) {
    for (var word = split * invocations + lane; word < histogram_words; word += splits * invocations) {
      histograms[row * histogram_words + word] = 0u;
    }
  }
  let highest = from_ordered_bits(best.x);
  var sum = 0.0;
  for (var id = start; id < end; id += invocations) {
    sum += exp(from_ordered_bits(logit_key(logits[first + id])) - highest);
  }
  part_sums[lane] = sum;
  if (lane_has_nan) {
    atomicStore(&has_nan, 1u);
  }
  workgroupBarrier();
  if (lane == 0u) {
    if (splits == 1u) {
      finish_unmodified(row, best);
    } else {
      partials[row * splits + split] = vec4<u32>(best, bitcast<u32>(summed_parts()), atomicLoad(&has_nan));
    }
  }
}

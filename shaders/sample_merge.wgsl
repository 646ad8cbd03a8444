// Brings the splits of each sampled row together: the best of all, and the sum over all in a fixed order.
//
//   partials  [sampled rows, splits], from the scan or the draw
//   states    [sampled rows], and sampled [sampled rows] (token id, bits of the f32 log-probability)
//
// Grid: x = sampled rows. Barriers: 2 and 1 or 2 to end. Where a row has one split, the kernels do this themselves.

const SCANNED = 0u;
const ADJUSTED = 1u;
const DRAWN = 2u;

struct Phase {
  kind: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<u32>;
@group(0) @binding(1) var<storage, read> sample_info: array<SampleInfo>;
@group(0) @binding(2) var<storage, read> adjustments: array<Adjustment>;
@group(0) @binding(3) var<uniform> phase: Phase;
@group(0) @binding(4) var<storage, read> partials: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> states: array<RowState>;
@group(0) @binding(6) var<storage, read_write> sampled: array<vec2<u32>>;

@compute @workgroup_size(invocations)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = workgroup.x;
  let info = sample_info[row];
  if ((phase.kind == ADJUSTED && !is_changed(info)) || (phase.kind == DRAWN && is_greedy(info))) {
    return;
  }
  let first = row * splits;
  var lane_key = 0u;
  var lane_id = NO_TOKEN;
  for (var split = lane; split < splits; split += invocations) {
    let part = partials[first + split];
    if (part.x > lane_key) {
      lane_key = part.x;
      lane_id = part.y;
    }
  }
  let best = best_of_workgroup(lane_key, lane_id);

  if (phase.kind != SCANNED) {
    let choice_key = select(states[row].choice_key, best.x, phase.kind == ADJUSTED);
    finish_choice(lane, row, info, best.y, choice_key);
    return;
  }
  let highest = from_ordered_bits(best.x);
  var sum = 0.0;
  for (var split = lane; split < splits; split += invocations) {
    let part = partials[first + split];
    sum += bitcast<f32>(part.z) * exp(from_ordered_bits(part.x) - highest);
    if (part.w == 1u) {
      atomicStore(&has_nan, 1u);
    }
  }
  part_sums[lane] = sum;
  workgroupBarrier();
  if (lane == 0u) {
    finish_unmodified(row, best);
  }
}

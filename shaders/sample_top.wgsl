// The most probable tokens of each sampled row that asks for them, and their log-probabilities under the unmodified softmax.
//
//   top_partials  [sampled rows, splits, MAX_TOP] (key, id): the best of each split, highest first, the lower id first among equals
//   top           [sampled rows, MAX_TOP] (token id, bits of the f32 log-probability): the best of all
//
// Two kernels: one takes the best of each split from the logits, before they are adjusted, and one, `is_merging`, the best of those.
// Every lane keeps the best of its own elements; the best of all lanes is taken, and only the lane that had it looks for its next.
//
// Grid: x = splits, or 1 to merge; y = sampled rows. Barriers: 2 per token.

const MAX_TOP = 20u;

override is_merging: bool;

@group(0) @binding(0) var<storage, read> logits: array<u32>;
@group(0) @binding(1) var<storage, read> sample_info: array<SampleInfo>;
@group(0) @binding(2) var<storage, read> states: array<RowState>;
@group(0) @binding(3) var<storage, read_write> top_partials: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> top: array<vec2<u32>>;

// By rank, so that nothing has to be cleared.
var<workgroup> best_keys: array<atomic<u32>, MAX_TOP>;
var<workgroup> best_id_complements: array<atomic<u32>, MAX_TOP>;

// Whether (key, id) comes before another in the order of the result.
fn is_before(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.x > b.x || (a.x == b.x && a.y < b.y);
}

// An element of a workgroup as (key, id).
fn element_at(row: u32, info: SampleInfo, index: u32) -> vec2<u32> {
  if (is_merging) {
    let split = index / info.top_count;
    return top_partials[(row * splits + split) * MAX_TOP + index % info.top_count];
  }
  return vec2<u32>(logit_key(logits[info.head_row * vocab + index]), index);
}

@compute @workgroup_size(invocations)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let split = workgroup.x;
  let row = workgroup.y;
  let info = sample_info[row];
  var start = split * split_tokens + lane;
  var end = min(vocab, (split + 1u) * split_tokens);
  if (is_merging) {
    start = lane;
    end = splits * info.top_count;
  }
  // Before and behind all elements.
  var taken = vec2<u32>(0xffffffffu, 0u);
  var lane_best = vec2<u32>(0u, NO_TOKEN);
  var is_stale = true;
  for (var rank = 0u; rank < info.top_count; rank += 1u) {
    if (is_stale) {
      lane_best = vec2<u32>(0u, NO_TOKEN);
      for (var index = start; index < end; index += invocations) {
        let element = element_at(row, info, index);
        if (is_before(taken, element) && is_before(element, lane_best)) {
          lane_best = element;
        }
      }
    }
    atomicMax(&best_keys[rank], lane_best.x);
    workgroupBarrier();
    if (lane_best.x == atomicLoad(&best_keys[rank])) {
      atomicMax(&best_id_complements[rank], ~lane_best.y);
    }
    workgroupBarrier();
    let best = vec2<u32>(atomicLoad(&best_keys[rank]), ~atomicLoad(&best_id_complements[rank]));
    is_stale = lane_best.y == best.y;
    if (is_stale) {
      taken = best;
    }
    if (lane == 0u) {
      if (is_merging || splits == 1u) {
        top[row * MAX_TOP + rank] = result_of(states[row], best.y, best.x);
      } else {
        top_partials[(row * splits + split) * MAX_TOP + rank] = best;
      }
    }
  }
}

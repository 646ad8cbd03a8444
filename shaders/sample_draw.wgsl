// Draws one token per sampled row that is not greedy, among those that top-k, top-p and min-p keep.
//
//   partials  [sampled rows, splits]: (highest score as a key, its lowest id, 0, 0)
//   sampled   [sampled rows] (token id, bits of the f32 log-probability): here where there is one split
//
// Gumbel-max: the largest of score - log(exponential noise), where the noise is a hash of (seed, position, token id), so a draw depends
// on nothing else: not on the batch, the device or the draws before.
//
// Grid: x = splits, y = sampled rows. Barriers: 2, 2 of the search and 2 to end.

@group(0) @binding(0) var<storage, read> logits: array<u32>;
@group(0) @binding(1) var<storage, read> sample_info: array<SampleInfo>;
@group(0) @binding(2) var<storage, read> adjustments: array<Adjustment>;
@group(0) @binding(3) var<storage, read_write> states: array<RowState>;
@group(0) @binding(4) var<storage, read> searches: array<Search>;
@group(0) @binding(5) var<storage, read_write> histograms: array<atomic<u32>>;
@group(0) @binding(6) var<storage, read_write> partials: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> sampled: array<vec2<u32>>;

// Three integers to three well mixed ones. Jarzynski and Olano, Hash Functions for GPU Rendering, JCGT 2020.
fn pcg3d(counter: vec3<u32>) -> vec3<u32> {
  var v = counter * 1664525u + 1013904223u;
  v.x += v.y * v.z;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v ^= v >> vec3<u32>(16u);
  v.x += v.y * v.z;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  return v;
}

// Exponentially distributed, -log(1 - u) of u in (0, 1). The smallest of many decides, so small values keep all of their 32 bits.
fn exponential(seed: u32, position: u32, id: u32) -> f32 {
  let u = (f32(pcg3d(vec3<u32>(id, position, seed)).x) + 0.5) / TWO_POW_32;
  if (u < 0.01) {
    return u + u * u * (0.5 + u / 3.0);
  }
  return -log(1.0 - min(u, 0.99999994));
}

@compute @workgroup_size(invocations)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let split = workgroup.x;
  let row = workgroup.y;
  let info = sample_info[row];
  if (is_greedy(info)) {
    return;
  }
  let search = search_before(lane, row, info, ALL_ROUNDS);
  let choice_key = states[row].choice_key;
  let highest = from_ordered_bits(choice_key);
  // Whatever was asked for, the most probable token stays.
  let threshold = min(max(search.floor_key, search.digits), choice_key);
  var lowest_score = -LIMIT;
  if (info.min_p > 0.0) {
    lowest_score = min(log(info.min_p), 0.0);
  }

  let first = info.head_row * vocab;
  let end = min(vocab, (split + 1u) * split_tokens);
  var lane_key = 0u;
  var lane_id = NO_TOKEN;
  for (var id = split * split_tokens + lane; id < end; id += invocations) {
    let key = logit_key(logits[first + id]);
    let score = (from_ordered_bits(key) - highest) / info.temperature;
    if (key >= threshold && score >= lowest_score) {
      let score_key = ordered_bits(score - log(exponential(info.seed, info.position, id)));
      if (score_key > lane_key) {
        lane_key = score_key;
        lane_id = id;
      }
    }
  }
  let best = best_of_workgroup(lane_key, lane_id);
  if (splits == 1u) {
    finish_choice(lane, row, info, best.y, choice_key);
  } else if (lane == 0u) {
    partials[row * splits + split] = vec4<u32>(best, 0u, 0u);
  }
}

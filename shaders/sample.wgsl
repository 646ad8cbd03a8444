// Picks one token per sampled row, and its log-probability under the unmodified softmax.
//
//   logits       f32 [head rows, vocab]
//   sample_info  [sampled rows]: which logits, and how to choose
//   sampled      [sampled rows] (token id, bits of the f32 log-probability)
//
// Greedy takes the largest logit, the lowest id among equals. Otherwise: logits / temperature; top-k keeps what is at least the k-th
// largest; top-p keeps, of the rest, the most probable tokens whose mass reaches p; equal logits stay or go together. Then one draw by
// Gumbel-max: the largest of score - log(exponential noise), where the noise is a hash of (seed, position, token id), so a draw
// depends on nothing else: not on the batch, the device or the draws before.
//
// Grid: x = sampled rows. One workgroup walks its row two times for greedy, four times more for each of top-k and top-p: both are the
// same search for a threshold, digit by digit over order-preserving integer keys, with a histogram of integer weights (1, or the
// probability in fixed point). Integer sums are the same in every order, so atomics leave the result deterministic.
//
// A row without a finite largest logit, or with a NaN, gives a valid id and NaN as log-probability: the caller can tell.

const RADIX_BITS = 8u;
const DIGITS = 256u;

// Stands for infinity; no model has such logits, and differences and quotients of it stay finite.
const LIMIT = 1e30;
// Below this, and for NaN, sampling is greedy: it would be so anyway but for logits equal to four digits.
const MIN_TEMPERATURE = 1e-4;
// Fixed-point one of probabilities relative to the largest. 2^18 tokens of it fit 49 bits.
const FIXED_POINT_ONE = 2147483648.0;
const TWO_POW_32 = 4294967296.0;
const QUIET_NAN = 0x7fc00000u;

override vocab: u32;
override invocations: u32;

struct SampleInfo {
  head_row: u32,
  temperature: f32,
  top_k: u32, // 0: all
  top_p: f32, // 1: all
  seed: u32,
  @size(12) position: u32,
}

// As bits, so that no compiler reasons about NaN and infinity.
@group(0) @binding(0) var<storage, read> logits: array<u32>;
@group(0) @binding(1) var<storage, read> sample_info: array<SampleInfo>;
@group(0) @binding(2) var<storage, read_write> sampled: array<vec2<u32>>;

var<workgroup> highest_key: atomic<u32>;
var<workgroup> has_nan: atomic<u32>;
// Weight per digit, 64 bits in two words.
var<workgroup> histogram_low: array<atomic<u32>, DIGITS>;
var<workgroup> histogram_high: array<atomic<u32>, DIGITS>;
var<workgroup> chosen_digit: u32;
var<workgroup> part_sums: array<f32, invocations>;
var<workgroup> best_score: atomic<u32>;
// Complemented, so that the zero it starts from is above every id and the maximum is the lowest id.
var<workgroup> best_id_complement: atomic<u32>;

// Maps floats to integers of the same order.
fn ordered_bits(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn from_ordered_bits(ordered: u32) -> f32 {
  return bitcast<f32>(select(~ordered, ordered & 0x7fffffffu, ordered >= 0x80000000u));
}

// The order-preserving key of a logit: within ±LIMIT, one zero, NaN lowest.
fn logit_key(first: u32, id: u32) -> u32 {
  let bits = logits[first + id];
  let magnitude = bits & 0x7fffffffu;
  if (magnitude == 0u) {
    return ordered_bits(0.0);
  }
  if (magnitude > 0x7f800000u) {
    return ordered_bits(-LIMIT);
  }
  if (magnitude > bitcast<u32>(LIMIT)) {
    return select(ordered_bits(LIMIT), ordered_bits(-LIMIT), bits >= 0x80000000u);
  }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn is_nan(bits: u32) -> bool {
  return (bits & 0x7fffffffu) > 0x7f800000u;
}

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

// What a token weighs in the search for a threshold: 1 for top-k, its probability relative to the largest for top-p.
fn token_weight(key: u32, by_mass: bool, highest: f32, temperature: f32) -> u32 {
  if (by_mass) {
    return u32(FIXED_POINT_ONE * exp((from_ordered_bits(key) - highest) / temperature));
  }
  return 1u;
}

// The largest key such that the tokens at or above it, of those at or above `floor_key`, together weigh `amount`: tokens for top-k,
// a fraction of their mass for top-p. For all invocations of the workgroup.
fn find_threshold(
  lane: u32,
  first: u32,
  floor_key: u32,
  by_mass: bool,
  amount: f32,
  highest: f32,
  temperature: f32,
) -> u32 {
  var threshold = 0u; // the digits found so far
  var found_mask = 0u;
  // Only lane 0 uses these: the weight of everything above the digits found, in two words, and the weight to reach.
  var above_low = 0u;
  var above_high = 0u;
  var goal = amount;
  for (var round = 0u; round < 32u / RADIX_BITS; round += 1u) {
    let shift = 32u - RADIX_BITS * (round + 1u);
    for (var digit = lane; digit < DIGITS; digit += invocations) {
      atomicStore(&histogram_low[digit], 0u);
      atomicStore(&histogram_high[digit], 0u);
    }
    workgroupBarrier();
    for (var id = lane; id < vocab; id += invocations) {
      let key = logit_key(first, id);
      if (key >= floor_key && (key & found_mask) == threshold) {
        let weight = token_weight(key, by_mass, highest, temperature);
        let digit = (key >> shift) % DIGITS;
        let before = atomicAdd(&histogram_low[digit], weight);
        if (before + weight < before) {
          atomicAdd(&histogram_high[digit], 1u);
        }
      }
    }
    workgroupBarrier();
    if (lane == 0u) {
      if (by_mass && round == 0u) {
        var total = 0.0;
        for (var digit = 0u; digit < DIGITS; digit += 1u) {
          total += f32(atomicLoad(&histogram_high[digit])) * TWO_POW_32 + f32(atomicLoad(&histogram_low[digit]));
        }
        goal = amount * total;
      }
      var digit = DIGITS;
      loop {
        digit -= 1u;
        let low = above_low + atomicLoad(&histogram_low[digit]);
        let high = above_high + atomicLoad(&histogram_high[digit]) + select(0u, 1u, low < above_low);
        if (digit == 0u || f32(high) * TWO_POW_32 + f32(low) >= goal) {
          break;
        }
        above_low = low;
        above_high = high;
      }
      chosen_digit = digit;
    }
    threshold |= workgroupUniformLoad(&chosen_digit) << shift;
    found_mask |= (DIGITS - 1u) << shift;
  }
  return threshold;
}

@compute @workgroup_size(invocations)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let info = sample_info[workgroup.x];
  let first = info.head_row * vocab;

  var lane_highest = 0u;
  for (var id = lane; id < vocab; id += invocations) {
    lane_highest = max(lane_highest, logit_key(first, id));
    if (is_nan(logits[first + id])) {
      atomicStore(&has_nan, 1u);
    }
  }
  atomicMax(&highest_key, lane_highest);
  workgroupBarrier();
  let top_key = atomicLoad(&highest_key);
  let highest = from_ordered_bits(top_key);

  let is_greedy = !(info.temperature >= MIN_TEMPERATURE);
  var threshold = 0u;
  if (!is_greedy) {
    if (info.top_k > 0u && info.top_k < vocab) {
      threshold = find_threshold(lane, first, 0u, false, f32(info.top_k), highest, info.temperature);
    }
    if (info.top_p < 1.0) {
      threshold = find_threshold(lane, first, threshold, true, info.top_p, highest, info.temperature);
    }
    // Whatever was asked for, the most probable token stays.
    threshold = min(threshold, top_key);
  }

  var sum = 0.0; // of exp(logit - highest)
  var lane_score = 0u;
  var lane_id = 0xffffffffu;
  for (var id = lane; id < vocab; id += invocations) {
    let key = logit_key(first, id);
    let below_highest = from_ordered_bits(key) - highest;
    sum += exp(below_highest);
    if (key >= threshold) {
      var score = below_highest;
      if (!is_greedy) {
        score = below_highest / info.temperature - log(exponential(info.seed, info.position, id));
      }
      let score_key = ordered_bits(score);
      if (score_key > lane_score) {
        lane_score = score_key;
        lane_id = id;
      }
    }
  }
  part_sums[lane] = sum;
  atomicMax(&best_score, lane_score);
  workgroupBarrier();
  if (lane_score == atomicLoad(&best_score)) {
    atomicMax(&best_id_complement, ~lane_id);
  }
  workgroupBarrier();

  if (lane == 0u) {
    let id = ~atomicLoad(&best_id_complement);
    var total = 0.0;
    for (var part = 0u; part < invocations; part += 1u) {
      total += part_sums[part];
    }
    let log_probability = from_ordered_bits(logit_key(first, id)) - highest - log(total);
    let is_sound = atomicLoad(&has_nan) == 0u && abs(highest) < LIMIT;
    sampled[workgroup.x] = vec2<u32>(id, select(QUIET_NAN, bitcast<u32>(log_probability), is_sound));
  }
}

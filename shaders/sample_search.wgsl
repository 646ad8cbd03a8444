// The search for a threshold, in front of the kernels that take part in it.
//
// Top-k and top-p are the same search: the largest key such that the tokens at or above it weigh enough, where a token weighs 1 for
// top-k and its probability, in fixed point, for top-p. It goes by digits of the key, highest first: a round is a histogram of the
// weights by one digit, among the tokens that have the digits found so far, and the digit is where the sum from above reaches the goal.
// Rounds 0 to 3 are those of top-k, 4 to 7 those of top-p, which weighs only what top-k keeps. Sums of integers are the same in any
// order, so atomics leave the result deterministic.

const RADIX_BITS = 8u;
const DIGITS = 256u;
const ROUNDS = 4u; // of one search
const ALL_ROUNDS = 8u;
const NO_ROUND = 0xffffffffu;
const GROUPS = 16u;
const GROUP_DIGITS = DIGITS / GROUPS;

struct Search {
  floor_key: u32, // what top-k keeps
  digits: u32, // found so far
  above_low: u32, // the weight of everything above them, in two words
  above_high: u32,
  goal: f32,
}

// Weights of a part of the digits, in two words.
var<workgroup> group_low: array<u32, GROUPS>;
var<workgroup> group_high: array<u32, GROUPS>;
var<workgroup> search_result: Search;

fn add_wide(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = a.x + b.x;
  return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn wide_to_float(a: vec2<u32>) -> f32 {
  return f32(a.y) * TWO_POW_32 + f32(a.x);
}

fn histogram_weight(first: u32, digit: u32) -> vec2<u32> {
  return vec2<u32>(atomicLoad(&histograms[first + 2u * digit]), atomicLoad(&histograms[first + 2u * digit + 1u]));
}

// The last round before this one that a row took part in.
fn round_before(info: SampleInfo, round: u32) -> u32 {
  if (round % ROUNDS != 0u) {
    return round - 1u;
  }
  if (round == ALL_ROUNDS && uses_top_p(info)) {
    return ALL_ROUNDS - 1u;
  }
  return select(NO_ROUND, ROUNDS - 1u, round > 0u && uses_top_k(info));
}

// How far the search of a row is before a round; at ALL_ROUNDS, the end. For all invocations of the workgroup, uniform.
fn search_before(lane: u32, row: u32, info: SampleInfo, round: u32) -> Search {
  let previous = round_before(info, round);
  if (previous == NO_ROUND) {
    return Search(0u, 0u, 0u, 0u, f32(info.top_k));
  }
  let first = (row * ALL_ROUNDS + previous) * DIGITS * 2u;
  for (var group = lane; group < GROUPS; group += invocations) {
    var weight = vec2<u32>();
    for (var digit = 0u; digit < GROUP_DIGITS; digit += 1u) {
      weight = add_wide(weight, histogram_weight(first, group * GROUP_DIGITS + digit));
    }
    group_low[group] = weight.x;
    group_high[group] = weight.y;
  }
  workgroupBarrier();
  if (lane == 0u) {
    var search = searches[row * ALL_ROUNDS + previous];
    if (previous == ROUNDS) {
      var total = vec2<u32>();
      for (var group = 0u; group < GROUPS; group += 1u) {
        total = add_wide(total, vec2<u32>(group_low[group], group_high[group]));
      }
      search.goal = info.top_p * wide_to_float(total);
    }
    var above = vec2<u32>(search.above_low, search.above_high);
    var group = GROUPS;
    loop {
      group -= 1u;
      let reached = add_wide(above, vec2<u32>(group_low[group], group_high[group]));
      if (group == 0u || wide_to_float(reached) >= search.goal) {
        break;
      }
      above = reached;
    }
    var digit = (group + 1u) * GROUP_DIGITS;
    loop {
      digit -= 1u;
      let reached = add_wide(above, histogram_weight(first, digit));
      if (digit == group * GROUP_DIGITS || wide_to_float(reached) >= search.goal) {
        break;
      }
      above = reached;
    }
    search.digits |= digit << (32u - RADIX_BITS * (previous % ROUNDS + 1u));
    search.above_low = above.x;
    search.above_high = above.y;
    if (previous == ROUNDS - 1u) {
      search = Search(search.digits, 0u, 0u, 0u, 0.0);
    }
    search_result = search;
  }
  return workgroupUniformLoad(&search_result);
}
